"""From a catalogue file to the dated snapshot: every row is either taken or rejected with field and reason."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from jobs.catalog.rows import BAD_CELLS, ROW, RawRow, fault_of
from jobs.images.source import Address, ImageAddressError, Images, ListedImage
from schemas.tables import AVAILABILITY, CATALOG, IN_STOCK, MANY
from schemas.taxonomy import Taxonomy, fold

_CURRENCY = re.compile(r"^[A-Z]{3}$")
_MAX_ID = 200
_LISTED = 4096  # images asked for at once
# Columns the contract did not always have: where they are empty a snapshot keeps the fingerprint it had before.
_LATER = ("season", "tags", "markets")


@dataclass(frozen=True)
class Rejection:
    """Why a row was not taken. `row` counts data rows from 1."""

    row: int
    item_id: str | None
    field: str
    value: str | None
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """A checked catalogue. `rows` follow schemas.tables.CATALOG, ordered by item_id."""

    rows: pa.Table
    rejected: tuple[Rejection, ...]
    total: int
    fingerprint: str  # of rows and rejections, the date apart
    defaulted_departments: int

    @property
    def rejected_share(self) -> float:
        return len(self.rejected) / self.total if self.total else 0.0

    def commonest_rejections(self, most: int = 3) -> str:
        """For a message: the commonest (field, reason), with counts and a first row."""
        first: dict[tuple[str, str], int] = {}
        for r in self.rejected:
            first.setdefault((r.field, r.reason), r.row)
        counts = Counter((r.field, r.reason) for r in self.rejected)
        return "; ".join(
            f"{n} × {field}: {reason} (first in row {first[field, reason]})"
            for (field, reason), n in counts.most_common(most)
        )


class _Bad(ValueError):
    def __init__(self, field: str, value: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field, self.value, self.reason = field, value, reason


def take_snapshot(
    raw: Iterable[RawRow], date: str, taxonomy: Taxonomy, images: Images, group_id_pattern: str | None = None
) -> Snapshot:
    """Check rows against the contract and list their images, many at once, which a source far away needs.

    A second row of an item_id is rejected: which of two is right is not for a job to guess.
    """
    group_re = re.compile(group_id_pattern) if group_id_pattern else None
    taken: dict[str, dict[str, Any]] = {}
    rejected: list[Rejection] = []
    total = defaulted = 0
    numbered = enumerate(raw, start=1)
    while some := list(islice(numbered, _LISTED)):
        found: list[tuple[int, RawRow, dict[str, Any] | _Bad]] = []
        for n, row in some:
            try:
                found.append((n, row, _product(row, taxonomy, group_re)))
            except _Bad as e:
                found.append((n, row, e))
        good = [p for _, _, p in found if not isinstance(p, _Bad)]
        listed = iter(images.list([Address(p["image"], p["updated_at"]) for p in good]))
        for n, row, product in found:
            total = n
            try:
                if isinstance(product, _Bad):
                    raise product
                product |= _where(product["image"], next(listed))
                item_id = product["item_id"]
                if item_id in taken:
                    raise _Bad("item_id", item_id, "stands in the catalogue more than once; the first row is taken")
            except _Bad as e:
                value = e.value if e.value is None or len(e.value) <= 200 else e.value[:200] + "…"
                item = row.get("item_id", "")[:_MAX_ID] or None
                rejected.append(Rejection(int(row.get(ROW, n)), item, e.field, value, e.reason))
                continue
            defaulted += "department" not in row
            taken[item_id] = {"snapshot": date, **product}
    rows = pa.Table.from_pylist([taken[i] for i in sorted(taken)], schema=CATALOG.schema)
    return Snapshot(rows, tuple(rejected), total, fingerprint_of(rows, rejected), defaulted)


def fingerprint_of(rows: pa.Table, rejected: Iterable[Rejection] = ()) -> str:
    """Hash of a snapshot's content without its date: 16 hex digits."""
    h = hashlib.sha256()
    for batch in rows.drop_columns(["snapshot"]).to_batches(max_chunksize=8192):
        for r in batch.to_pylist():
            r = {k: v for k, v in r.items() if v is not None or k not in _LATER}
            h.update(json.dumps(r, sort_keys=True, ensure_ascii=False).encode())
    for x in rejected:
        h.update(f"{x.row}\0{x.field}\0{x.value}\0{x.reason}".encode())
    return h.hexdigest()[:16]


def _where(address: str, listed: ListedImage | ImageAddressError) -> dict[str, Any]:
    if isinstance(listed, ImageAddressError):
        raise _Bad("image", address, str(listed))
    return {"image_uri": listed.uri, "source_fingerprint": listed.fingerprint}


def _product(row: RawRow, taxonomy: Taxonomy, group_re: re.Pattern[str] | None) -> dict[str, Any]:
    if BAD_CELLS in row:
        raise _Bad("row", None, row[BAD_CELLS])
    if told := fault_of(row):
        raise _Bad(*told)
    item_id = row.get("item_id", "")
    if not item_id:
        raise _Bad("item_id", None, "is empty")
    if len(item_id) > _MAX_ID or "\ufffd" in item_id or any(ord(c) < 32 for c in item_id):
        raise _Bad("item_id", item_id, f"is longer than {_MAX_ID} characters or has control characters")
    if not row.get("category"):
        raise _Bad("category", None, "is empty")
    try:
        category = taxonomy.category(row["category"], row.get("product_type"))
    except KeyError as e:
        raise _Bad("category", row["category"], e.args[0]) from None
    try:
        department = taxonomy.department(row.get("department"), row.get("age_group"))
    except KeyError as e:
        raise _Bad("department", row.get("department"), e.args[0]) from None
    if not row.get("image"):
        raise _Bad("image", None, "is empty")
    availability = fold(row.get("availability", "in_stock")).replace(" ", "_").replace("-", "_")
    if availability not in AVAILABILITY:
        raise _Bad("availability", row.get("availability"), f"is none of {', '.join(AVAILABILITY)}")
    currency = row.get("currency")
    if currency is not None and not _CURRENCY.match(currency):
        raise _Bad("currency", currency, "is no three-letter code")
    group = row.get("group_id")
    if group is None and group_re and (m := group_re.search(item_id)):
        group = m[1] if m.groups() else m[0]
    return {
        "item_id": item_id,
        "category": category,
        "image": row["image"],
        "title": row.get("title"),
        "product_type": row.get("product_type"),
        "department": department,
        "brand": row.get("brand"),
        "group_id": group or item_id,
        "price": _price(row.get("price")),
        "currency": currency,
        "availability": availability,
        "in_stock": availability in IN_STOCK,
        "updated_at": row.get("updated_at"),
        "season": row.get("season"),
        "tags": _many(row.get("tags")),
        "markets": _many(row.get("markets")),
    }


def _many(text: str | None) -> list[str] | None:
    """Values between bars, in the catalogue's order, each once; None where there is none."""
    return list(dict.fromkeys(v for part in (text or "").split(MANY) if (v := part.strip()))) or None


def _price(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise _Bad("price", text, "is no number (write 19.99; the currency has its own column)") from None
    if not math.isfinite(value) or value < 0:
        raise _Bad("price", text, "is negative or not finite")
    return value
