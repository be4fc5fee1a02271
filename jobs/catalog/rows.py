"""What every importer gives: rows of text by the contract's names, and notes of what it noticed on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from schemas.tables import CATALOG_OPTIONAL, CATALOG_REQUIRED

RawRow = Mapping[str, str]
# Marks begin with a blank, which no name in a header does: whatever a file calls its columns, it cannot set one.
BAD_CELLS = " bad cells"  # key under which a row says that its number of cells is wrong
FAULT = " fault"  # key under which an importer says what else is wrong with a row; see fault() and fault_of()
ROW = " row"  # key of a row's number in its file, where the importer makes one row of several

CONTRACT = (*CATALOG_REQUIRED, *CATALOG_OPTIONAL)
MAX_CELL = 4 * 1024 * 1024  # characters; a longer cell is no catalogue text. The csv module's 128 KiB cuts some feeds
MAX_TEXT = 8192  # characters of a contract's cell; a longer one is no title, name or address
_MOST_VALUES = 10_000  # distinct unmapped values that are counted one by one


@dataclass
class Notes:
    """What was noticed in a file while it was read; complete when its rows are."""

    kind: str = ""  # the format, in words
    encoding: str = ""
    records: int = 0  # data rows, items or objects of the file
    said: list[str] = field(default_factory=list)  # what holds for the whole file
    counts: Counter[str] = field(default_factory=Counter)  # what happened to some of it -> how often
    unmapped: Counter[tuple[str, str]] = field(default_factory=Counter)  # (field, value) that means no category
    first: dict[tuple[str, str], int] = field(default_factory=dict)  # its first row

    def count_unmapped(self, name: str, value: str, row: int) -> None:
        key = (name, value[:200])
        if key not in self.unmapped and len(self.unmapped) >= _MOST_VALUES:
            key = (name, "(further values)")
        self.unmapped[key] += 1
        self.first.setdefault(key, row)

    def lines(self) -> list[str]:
        """Sentences for a person: what was passed over or understood otherwise than it stands."""
        return [*self.said, *(f"{what}: {n:,}" for what, n in sorted(self.counts.items()))]


@dataclass(frozen=True)
class Source:
    """Records of a file before they have the contract's names. `names`: its header, empty where it has none."""

    names: tuple[str, ...]
    records: Iterator[tuple[int, RawRow]]  # row number from 1, cells trimmed, empty ones left out


def fault(name: str, value: str | None, reason: str) -> str:
    """What goes under FAULT: the field, its value and why the row cannot be taken."""
    return json.dumps([name, value if value is None else value[:MAX_TEXT], reason])


def fault_of(row: RawRow) -> tuple[str, str | None, str] | None:
    """Field, value and reason that an importer gave; None where it found no fault."""
    if FAULT not in row:
        return None
    name, value, reason = json.loads(row[FAULT])
    return name, value, reason


def bounded(rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """Rows with a fault where a cell is too long to be what it stands for."""
    for row in rows:
        long = [k for k in row if k in CONTRACT and len(row[k]) > MAX_TEXT] if FAULT not in row else []
        if long:
            kept = {k: v for k, v in row.items() if k not in long}
            reason = f"is {len(row[long[0]]):,} characters long, more than {MAX_TEXT:,}"
            yield {**kept, FAULT: fault(long[0], row[long[0]][:200], reason)}
        else:
            yield row
