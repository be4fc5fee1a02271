"""Catalogue files as rows of text: CSV and Parquet, by the column names of the contract."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import DataError, SettingsError
from schemas.tables import CATALOG_OPTIONAL, CATALOG_REQUIRED, MANY

RawRow = Mapping[str, str]
BAD_CELLS = "__bad_cells__"  # key under which a row says that its number of cells is wrong

csv.field_size_limit(4 * 1024 * 1024)  # a longer cell is no catalogue text; the default of 128 KiB cuts some feeds


def read_catalog(path: Path) -> Iterator[RawRow]:
    """Yield the data rows of a catalogue file, cells trimmed, empty cells left out.

    Raises SettingsError where there is no such file, DataError (file, row or column) where it is no catalogue.
    """
    if not path.exists():
        raise SettingsError(f"{path}: no such catalogue file; give --catalog a CSV or Parquet file")
    if path.is_dir():
        raise SettingsError(f"{path}: is a folder; give --catalog a CSV or Parquet file")
    if path.suffix.lower() in (".parquet", ".pq"):
        return _parquet(path)
    if path.suffix.lower() == ".csv":
        return _csv(path)
    raise SettingsError(f"{path}: unknown kind '{path.suffix}'; a catalogue is .csv or .parquet")


def _check_columns(path: Path, names: Iterable[str]) -> None:
    names = list(names)
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{path}: column {', '.join(twice)} stands more than once in the header; rename one")
    missing = [c for c in CATALOG_REQUIRED if c not in names]
    if missing:
        raise DataError(
            f"{path}: required column {', '.join(missing)} is missing; it has {', '.join(names) or 'no header'}; "
            f"the contract is {', '.join(CATALOG_REQUIRED)} and optionally {', '.join(CATALOG_OPTIONAL)}"
        )


def _csv(path: Path) -> Iterator[RawRow]:
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            # NULs make the csv module give up on the file; as U+FFFD they cost only their own row.
            reader = csv.reader((line.replace("\0", "\ufffd") for line in f), strict=True)
            header = [h.strip() for h in next(reader, [])]
            _check_columns(path, header)
            for row, cells in enumerate(reader, start=1):  # noqa: B007 - the errors below name it
                if not cells:
                    continue
                out = {h: v.strip() for h, v in zip(header, cells, strict=False) if v.strip()}
                if len(cells) != len(header):
                    out[BAD_CELLS] = f"{len(cells)} cells where the header has {len(header)}"
                yield out
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: not UTF-8 near data row {row + 1} ({e.reason}); save it as UTF-8") from e
    except csv.Error as e:
        raise DataError(f"{path}: broken CSV near data row {row + 1}: {e}; check the quoting there") from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e


def _parquet(path: Path) -> Iterator[RawRow]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"{path}: not a readable Parquet file: {e}") from e
    _check_columns(path, file.schema_arrow.names)
    known = [c for c in (*CATALOG_REQUIRED, *CATALOG_OPTIONAL) if c in file.schema_arrow.names]
    try:
        for batch in file.iter_batches(batch_size=16384, columns=known):
            for record in batch.to_pylist():
                yield {k: s for k, v in record.items() if v is not None and (s := _text(v))}
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"{path}: damaged Parquet file: {e}") from e


def _text(value: object) -> str:
    if isinstance(value, list):
        return MANY.join(t for v in value if v is not None and (t := _text(v)))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
