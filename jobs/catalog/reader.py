"""Catalogue files as rows of text by the contract's names. The format is told by content and header.

CSV, TSV, Parquet and Delta with the contract's columns; Google Merchant feeds; Shopify's product CSV; schema.org
Products in JSON-LD; any other with a mapping of columns (setting `catalog.columns`). Rows are read one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from jobs.catalog.columnar import delta, parquet
from jobs.catalog.google import categorised, google_rows, is_google
from jobs.catalog.json_lines import values
from jobs.catalog.rows import BAD_CELLS, CONTRACT, FAULT, Notes, RawRow, Source, bounded, fault
from jobs.catalog.schema_org import is_schema_org, schema_org_rows
from jobs.catalog.shopify import is_shopify, shopify_rows
from jobs.catalog.text import delimited
from jobs.catalog.values import availability, price
from jobs.catalog.xml_feed import xml_feed
from jobs.errors import DataError, SettingsError
from schemas.category_map import CategoryMap, category_map
from schemas.tables import CATALOG_OPTIONAL, CATALOG_REQUIRED
from schemas.taxonomy import Taxonomy, load_taxonomy

KINDS = "CSV, TSV, Parquet, a Delta folder, an XML feed or JSON lines"
_REFUSED = {
    b"PK\x03\x04": "a zip or Excel file; export it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel file; export it as CSV",
    b"\x1f\x8b": "packed by gzip; unpack it first",
    b"BZh": "packed by bzip2; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"%PDF": "a PDF",
}
_SUFFIXES = (".xlsx", ".xls", ".ods", ".zip", ".pdf", ".html", ".htm")


@dataclass(frozen=True)
class Reading:
    """A catalogue file being read. `notes` is complete when `rows` has been read to its end."""

    rows: Iterator[RawRow]
    notes: Notes


def read_catalog(
    path: Path, columns: Mapping[str, str] | None = None, taxonomy: Taxonomy | None = None
) -> Iterator[RawRow]:
    """The rows of `open_catalog`."""
    return open_catalog(path, columns, taxonomy).rows


def open_catalog(path: Path, columns: Mapping[str, str] | None = None, taxonomy: Taxonomy | None = None) -> Reading:
    """Read a catalogue file of any known format. `columns` maps the contract's names to the file's.

    Raises SettingsError where there is no such file or it is of no kind to be read, DataError (file, row or column)
    where it is no catalogue; the latter also while rows are read.
    """
    _check_file(path)
    _check_mapping(columns or {})
    notes = Notes()
    return Reading(bounded(_rows(path, columns or {}, taxonomy, notes)), notes)


def _rows(path: Path, columns: Mapping[str, str], taxonomy: Taxonomy | None, notes: Notes) -> Iterator[RawRow]:
    known = category_map(taxonomy or load_taxonomy())
    wanted = tuple(columns.values())
    if path.is_dir():
        source = delta(path, notes, wanted)
    else:
        head = _head(path)
        if path.suffix.lower() in (".parquet", ".pq") or head.startswith(b"PAR1"):
            source = parquet(path, notes, wanted)
        elif head.startswith(b"<"):
            source = xml_feed(path, notes)
            if not columns:
                yield from _named(path, "Google Merchant feed", google_rows(source.records, known, notes), notes)
                return
        elif head.startswith((b"{", b"[")):
            yield from _json(path, columns, known, notes)
            return
        else:
            source = delimited(path, notes)
    yield from _dialect(path, source, columns, known, notes)


def _dialect(
    path: Path, source: Source, columns: Mapping[str, str], known: CategoryMap, notes: Notes
) -> Iterator[RawRow]:
    """Records by their header's names."""
    names = source.names
    if columns:
        rows = _mapped(path, source, columns, known, notes)
        yield from _named(path, "columns by catalog.columns", rows, notes)
    elif not set(CATALOG_REQUIRED) <= set(names) and is_google(names):
        yield from _named(path, "Google Merchant feed", google_rows(source.records, known, notes), notes)
    elif not set(CATALOG_REQUIRED) <= set(names) and is_shopify(names):
        yield from _named(path, "Shopify products", shopify_rows(names, source.records, known, notes), notes)
    else:
        _check_columns(path, names)
        wanted = {*CONTRACT, BAD_CELLS, FAULT}
        rows = ({k: v for k, v in record.items() if k in wanted} for _, record in source.records)
        yield from _named(path, "the contract's columns", rows, notes)


def _named(path: Path, name: str, rows: Iterable[RawRow], notes: Notes) -> Iterator[RawRow]:
    """The rows, the format's name put before the file's kind as soon as that is known."""
    first = True
    for row in rows:
        if first:
            notes.kind, first = f"{name}, {notes.kind}", False
        yield row
    if first:
        notes.kind = f"{name}, {notes.kind}"


def _json(path: Path, columns: Mapping[str, str], known: CategoryMap, notes: Notes) -> Iterator[RawRow]:
    found = values(path, notes)
    first = next(found, None)
    if first is None:
        raise DataError(f"{path}: is empty; there is no row")
    counted = _counted(chain([first], found), notes)
    if is_schema_org(first[1]) and not columns:
        rows = (
            row
            for number, value, why in counted
            for row in ([{FAULT: fault("row", None, why)}] if why else schema_org_rows(number, value, known, notes))
        )
        yield from _named(path, "schema.org products", rows, notes)
        return
    names = tuple(first[1]) if isinstance(first[1], dict) else ()
    yield from _dialect(path, Source(names, (_flat(*x) for x in counted)), columns, known, notes)


def _counted(found: Iterable[tuple[int, Any, str | None]], notes: Notes) -> Iterator[tuple[int, Any, str | None]]:
    for one in found:
        notes.records += 1
        yield one


def _flat(number: int, value: Any, why: str | None) -> tuple[int, RawRow]:
    """A flat JSON object as a record; lists of texts as those of the contract."""
    if why or not isinstance(value, dict):
        return number, {FAULT: fault("row", None, why or "is no JSON object")}
    record = {}
    for key, cell in value.items():
        if key.startswith(" "):
            continue
        cells = cell if isinstance(cell, list) else [cell]
        texts = [str(c).strip() for c in cells if isinstance(c, str | int | float) and not isinstance(c, bool)]
        if text := "|".join(t for t in texts if t):
            record[key] = text
    return number, record


def _mapped(
    path: Path, source: Source, columns: Mapping[str, str], known: CategoryMap, notes: Notes
) -> Iterator[RawRow]:
    """Records by the mapping of a person: whatever the file calls its columns."""
    missing = [f"{name} ({of})" for of, name in columns.items() if source.names and name not in source.names]
    if missing:
        raise SettingsError(
            f"{path}: catalog.columns names {', '.join(missing)}, which the file does not have; "
            f"it has {', '.join(source.names)}"
        )
    for number, record in source.records:
        row = {of: record[name] for of, name in columns.items() if name in record}
        faults = {k: record[k] for k in (BAD_CELLS, FAULT) if k in record}
        if "price" in row:
            row["price"], currency = price(row["price"])
            if currency:
                row.setdefault("currency", currency)
        if "availability" in row:
            row["availability"] = availability(row["availability"])
        if faults:
            yield {**row, **faults}
            continue
        found = known.find(row.pop("category", None), row.get("product_type"))
        texts = (record.get(columns.get("category", "")), row.get("product_type"))
        yield categorised(row, found, row.pop("department", None), texts, known, notes, number)


def _check_file(path: Path) -> None:
    if not path.exists():
        raise SettingsError(f"{path}: no such catalogue file; give --catalog {KINDS}")
    if path.is_dir():
        if not (path / "_delta_log").is_dir():
            raise SettingsError(f"{path}: is a folder without a Delta table; give --catalog {KINDS}")
    elif path.suffix.lower() in _SUFFIXES:
        raise SettingsError(f"{path}: unknown kind '{path.suffix}'; a catalogue is {KINDS}")


def _head(path: Path) -> bytes:
    """The first bytes that say something, without mark and blanks; of UTF-16 as ASCII."""
    try:
        with path.open("rb") as f:
            raw = f.read(4096)
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e
    for magic, what in _REFUSED.items():
        if raw.startswith(magic):
            raise SettingsError(f"{path}: is {what}; a catalogue is {KINDS}")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raw = raw.decode("utf-16", "ignore").encode("ascii", "replace")
    head = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"<(?:!doctype\s+html|html)\b", head, re.IGNORECASE):
        raise DataError(
            f"{path}: is a web page, no feed; whoever fetches it may have to log in, or the address is wrong"
        )
    return head


def _check_mapping(columns: Mapping[str, str]) -> None:
    if unknown := [c for c in columns if c not in CONTRACT]:
        raise SettingsError(f"catalog.columns: {', '.join(unknown)} unknown; the contract has {', '.join(CONTRACT)}")
    missing = [c for c in ("item_id", "image") if c not in columns]
    if not {"category", "product_type"} & set(columns):
        missing.append("category (or product_type)")
    if columns and missing:
        raise SettingsError(f"catalog.columns: {', '.join(missing)} is missing; say which column of the file it is")


def _check_columns(path: Path, names: Iterable[str]) -> None:
    names = list(names)
    twice = sorted({n for n in names if n and names.count(n) > 1})
    if twice:
        raise DataError(f"{path}: column {', '.join(twice)} stands more than once in the header; rename one")
    missing = [c for c in CATALOG_REQUIRED if c not in names]
    if missing:
        raise DataError(
            f"{path}: required column {', '.join(missing)} is missing; it has {', '.join(names) or 'no header'}; "
            f"the contract is {', '.join(CATALOG_REQUIRED)} and optionally {', '.join(CATALOG_OPTIONAL)}; "
            "for a file with other names say which is which (setting catalog.columns, docs/catalog.md)"
        )
