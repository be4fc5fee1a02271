"""What a catalogue file would give, before anything runs: taken, rejected, and values that mean no category."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.catalog.reader import Reading, open_catalog
from jobs.catalog.rows import Notes
from jobs.catalog.snapshot import Rejection, Snapshot, take_snapshot
from jobs.images.route import open_images
from jobs.settings import Settings
from jobs.stage import taxonomy_of
from schemas.taxonomy import Taxonomy

_WIDE = 72  # characters of a value on the screen
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class CatalogReport:
    """The outcome of a check. `most` is how many of each kind are shown."""

    path: Path
    notes: Notes
    snapshot: Snapshot
    taxonomy: Taxonomy
    limit: float  # share of rejected rows that the plan accepts
    most: int

    @property
    def accepted(self) -> bool:
        return self.snapshot.rows.num_rows > 0 and self.snapshot.rejected_share <= self.limit

    def by_reason(self) -> list[tuple[str, str, int, list[Rejection]]]:
        """(field, reason, rows, the first of them) of the commonest rejections."""
        kinds: dict[tuple[str, str], list[Rejection]] = {}
        for r in self.snapshot.rejected:
            kinds.setdefault((r.field, r.reason), []).append(r)
        ordered = sorted(kinds.items(), key=lambda kv: (-len(kv[1]), kv[0]))
        return [(field, reason, len(rows), rows[:3]) for (field, reason), rows in ordered[: self.most]]

    def counted(self, column: str) -> list[tuple[str, int]]:
        counts = Counter(self.snapshot.rows[column].to_pylist())
        return sorted(((str(v), n) for v, n in counts.items()), key=lambda vn: (-vn[1], vn[0]))

    def as_json(self) -> dict[str, Any]:
        """All of it, every rejected row too."""
        s, n = self.snapshot, self.notes
        return {
            "file": str(self.path),
            "format": n.kind,
            "encoding": n.encoding,
            "records": n.records,
            "rows": s.total,
            "taken": s.rows.num_rows,
            "in_stock": sum(s.rows["in_stock"].to_pylist()),
            "groups": len(set(s.rows["group_id"].to_pylist())),
            "defaulted_departments": s.defaulted_departments,
            "categories": dict(self.counted("category")),
            "departments": dict(self.counted("department")),
            "rejected": [
                {"row": r.row, "item_id": r.item_id, "field": r.field, "value": r.value, "reason": r.reason}
                for r in s.rejected
            ],
            "rejected_share": round(s.rejected_share, 6),
            "allowed_share": self.limit,
            "unmapped": [
                {"field": f, "value": v, "rows": count, "first_row": n.first[f, v]}
                for (f, v), count in n.unmapped.most_common()
            ],
            "notes": n.lines(),
            "accepted": self.accepted,
        }

    def lines(self) -> Iterator[str]:
        """For a person at night: what it is, what is taken, what is not and why, what to do."""
        s, n = self.snapshot, self.notes
        yield f"{self.path.name}: {n.kind}{f', {n.encoding}' if n.encoding not in ('', 'XML') else ''}"
        for line in n.lines():
            yield f"  note  {plain(line)}"
        yield ""
        yield f"read      {n.records:>10,} records, {s.total:,} rows of products"
        groups = len(set(s.rows["group_id"].to_pylist()))
        stock = sum(s.rows["in_stock"].to_pylist())
        yield f"taken     {s.rows.num_rows:>10,} products of {groups:,} groups, {stock:,} in stock"
        yield f"rejected  {len(s.rejected):>10,} rows, {s.rejected_share:.1%} (a plan stops above {self.limit:.0%})"
        if s.rows.num_rows:
            yield ""
            yield "categories   " + ", ".join(f"{c} {k:,}" for c, k in self.counted("category"))
            default = f"; {s.defaulted_departments:,} without one, by default" if s.defaulted_departments else ""
            yield "departments  " + ", ".join(f"{c} {k:,}" for c, k in self.counted("department")) + default
        if s.rejected:
            yield ""
            yield from self._rejected()
        if n.unmapped:
            yield ""
            yield from self._unmapped()

    def _rejected(self) -> Iterator[str]:
        kinds = len({(r.field, r.reason) for r in self.snapshot.rejected})
        yield f"Rejected, {_commonest(kinds, self.most, 'reason')}:"
        for field, reason, rows, first in self.by_reason():
            yield f"{rows:>9,} × {field}: {plain(reason)}"
            for r in first:
                item = f" ({plain(r.item_id, 40)})" if r.item_id else ""
                yield f"{'':>11} row {r.row:,}{item}: {quoted(r.value)}"

    def _unmapped(self) -> Iterator[str]:
        n = self.notes
        yield f"Names that mean no category, {_commonest(len(n.unmapped), self.most, 'name')}:"
        for (field, value), count in n.unmapped.most_common(self.most):
            yield f"{count:>9,} × {field} {quoted(value)}, first in row {n.first[field, value]:,}"
        yield "A line under `aliases` of the taxonomy makes a name a category (setting `taxonomy`, docs/catalog.md)."


def check_catalog(path: Path, settings: Settings, run_date: str, most: int = 10) -> CatalogReport:
    """Read a file as a plan would. Raises as `open_catalog` does."""
    taxonomy = taxonomy_of(settings)
    reading: Reading = open_catalog(path, settings.catalog.columns, taxonomy)
    images = open_images(settings, path.resolve().parent, run_date, ask=False)
    snapshot = take_snapshot(reading.rows, run_date, taxonomy, images, settings.catalog.group_id_pattern)
    return CatalogReport(path, reading.notes, snapshot, taxonomy, settings.catalog.max_rejected_share, most)


def _commonest(kinds: int, most: int, what: str) -> str:
    return f"the {most} commonest of {kinds:,} {what}s" if kinds > most else f"by {what}"


def plain(text: str, most: int = 400) -> str:
    """Text from outside for a terminal: one line, no control characters, not longer than that."""
    text = _CONTROL.sub("\ufffd", text)
    return text if len(text) <= most else text[:most] + "…"


def quoted(value: str | None) -> str:
    return "nothing there" if value is None else f"'{plain(value, _WIDE)}'"
