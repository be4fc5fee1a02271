"""Pins and own lists: who stands where. Settled once for all pages that are alike.

Own lists come before pins. In each, the higher importance wins, then the name. What stands already keeps its
position; a pin whose position is taken moves to the next free one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from jobs.rules.attributes import Attributes, Bools, Int32, Int64
from schemas.rules import Rule

Reason = Literal[
    "unknown",  # no product of the catalogue
    "never_pair",  # its category has no slot on the page (never-pairs, the page's own category)
    "own_page",  # the page itself
    "own_group",  # a variant of the page's product
    "department",  # one the page may not show
    "blocked",  # by a block of these rules
    "sold_out",
    "same_group",  # a variant of it stands in the list already, by a more important rule or an earlier place
    "no_room",  # no free position below k
    "own_list",  # a pin, where the page's own list wins
]


@dataclass(frozen=True)
class Ineligible:
    """A pinned or listed item that was dropped, and on how many pages."""

    rule: str
    item_id: str  # as the rule has it
    page_count: int
    reason: Reason


@dataclass(frozen=True)
class Entry:
    """An item of a pin or list, in this target category."""

    item_id: str
    row: int


@dataclass(frozen=True, eq=False)
class Placer:
    """A pin or list with items in this target category: its entries, and the pages it is for."""

    rule: Rule
    entries: tuple[Entry, ...]
    on: Bools  # [N]


@dataclass
class Placed:
    """See `compile.Effects` for the arrays. `moved`: (winner, loser, position from 0) → pages; `shadowed`: of lists."""

    pin_row: Int32
    pin_at: Int32
    own_row: Int32
    own: Bools
    fill: Bools
    dropped: Counter[tuple[str, str, Reason]] = field(default_factory=Counter)
    moved: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    shadowed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def ineligible(self) -> tuple[Ineligible, ...]:
        return tuple(Ineligible(rule, item, n, why) for (rule, item, why), n in sorted(self.dropped.items()))


def place(
    placers: Sequence[Placer], pages: Attributes, targets: Attributes, blocked: Bools, klass: Int32, may: Bools, k: int
) -> Placed:
    """Settle pins and own lists of N pages. `placers` by rank; `blocked` [C, T] of the pages' classes `klass` [N]."""
    n = len(pages)
    rows = np.array(sorted({e.row for p in placers for e in p.entries}), dtype=np.int64)
    on = np.array([p.on for p in placers], dtype=np.bool_).reshape(len(placers), n)
    touched = np.flatnonzero(on.any(axis=0))
    groups = targets.group[rows]
    own = pages.group[touched]
    itself = np.full(len(touched), -1, dtype=np.int64)
    if pages.category == targets.category:
        at = {targets.ids[int(r)].as_py(): int(r) for r in rows}
        itself[:] = [at.get(i, -1) for i in pages.ids.take(touched).to_pylist()]
    _, pattern = np.unique(blocked[:, rows], axis=0, return_inverse=True)
    alike, first, count = kinds(
        np.column_stack(
            [
                np.packbits(on[:, touched], axis=0).T,
                pages.department[touched],
                np.where(np.isin(own, groups), own, -1),
                itself,
                pattern.reshape(-1)[klass[touched]],
            ]
        )
    )
    out = nothing(n)
    pins: list[list[tuple[int, int]]] = []  # (position, row) of each kind of page
    lists: list[list[int]] = []
    for kind, (at_, pages_) in enumerate(zip(first, count, strict=True)):
        page = int(touched[at_])
        settled = _Settle(targets, int(pages.group[page]), int(itself[at_]), may[pages.department[page]],
                          blocked[klass[page]], k, out, int(pages_))  # fmt: skip
        settled.run([p for i, p in enumerate(placers) if on[i, page]])
        pins.append(sorted(settled.pins))
        lists.append(settled.own)
        if settled.own:
            mine = touched[alike == kind]
            out.own[mine], out.fill[mine] = True, settled.fill
    out.pin_row = _spread([[r for _, r in p] for p in pins], alike, touched, n)
    out.pin_at = _spread([[p_ for p_, _ in p] for p in pins], alike, touched, n)
    out.own_row = _spread(lists, alike, touched, n)
    return out


def nothing(n: int) -> Placed:
    """No pin and no own list on n pages."""
    empty = np.full((n, 0), -1, dtype=np.int32)
    return Placed(empty, empty, empty, np.zeros(n, np.bool_), np.zeros(n, np.bool_))


def kinds(signature: np.ndarray) -> tuple[Int64, Int64, Int64]:
    """Equal rows of a matrix: the kind of each row, a first row of each kind, and how many it has."""
    a = np.ascontiguousarray(signature)
    if not a.shape[1]:
        a = np.zeros((len(a), 1), dtype=np.int8)
    as_bytes = a.view(np.dtype((np.void, a.dtype.itemsize * a.shape[1]))).reshape(-1)
    _, first, kind, count = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    return kind.reshape(-1), first, count


def _spread(of_kind: list[list[int]], kind: Int64, touched: Int64, n: int) -> Int32:
    """Ragged rows of kinds as [n, widest] with -1 behind, given to the pages of each kind."""
    table = np.full((len(of_kind), max(map(len, of_kind), default=0)), -1, dtype=np.int32)
    for i, values in enumerate(of_kind):
        table[i, : len(values)] = values
    out = np.full((n, table.shape[1]), -1, dtype=np.int32)
    if len(touched):
        out[touched] = table[kind]
    return out


class _Settle:
    """The pins and the own list of one kind of page."""

    def __init__(
        self, targets: Attributes, group: int, itself: int, may: Bools, blocked: Bools, k: int, out: Placed, pages: int
    ) -> None:
        self.targets, self.group, self.itself, self.may, self.blocked = targets, group, itself, may, blocked
        self.k, self.out, self.pages = k, out, pages
        self.own: list[int] = []
        self.fill = False
        self.pins: list[tuple[int, int]] = []
        self._taken: dict[int, str] = {}  # position → rule
        self._rows: set[int] = set()
        self._groups: set[int] = set()

    def run(self, placers: Sequence[Placer]) -> None:
        winner: str | None = None
        for p in placers:
            if p.rule.verb == "list":
                if winner is None:
                    winner = self._own(p)
                else:
                    self.out.shadowed[winner, p.rule.name] += self.pages
        for p in placers:
            if p.rule.verb == "pin":
                self._pin(p, closed=winner is not None and not self.fill)

    def _own(self, p: Placer) -> str | None:
        """Take an own list's eligible items; a list that has none leaves the slot to the next one, or the model."""
        for e in p.entries:
            if why := self._why_not(e.row):
                self._drop(p.rule, e, why)
            elif len(self.own) == self.k:
                self._drop(p.rule, e, "no_room")
            else:
                self._take(len(self.own), e.row, p.rule)
                self.own.append(e.row)
        self.fill = bool(self.own) and p.rule.fill
        return p.rule.name if self.own else None

    def _pin(self, p: Placer, *, closed: bool) -> None:
        wanted = p.rule.position - 1
        for e in p.entries:
            if e.row in self._rows:
                continue  # it stands already
            why = self._why_not(e.row) or ("own_list" if closed else None)
            if why:
                self._drop(p.rule, e, why)
                continue
            at = wanted
            while at in self._taken:
                at += 1
            if at != wanted and self._taken[wanted] != p.rule.name:
                self.out.moved[self._taken[wanted], p.rule.name, wanted] += self.pages
            if at >= self.k:
                self._drop(p.rule, e, "no_room")
                continue
            self._take(at, e.row, p.rule)
            self.pins.append((at, e.row))
            wanted = at + 1

    def _take(self, at: int, row: int, rule: Rule) -> None:
        self._taken[at] = rule.name
        self._rows.add(row)
        self._groups.add(int(self.targets.group[row]))

    def _drop(self, rule: Rule, e: Entry, why: Reason) -> None:
        self.out.dropped[rule.name, e.item_id, why] += self.pages

    def _why_not(self, row: int) -> Reason | None:
        group = int(self.targets.group[row])
        if row == self.itself:
            return "own_page"
        if group == self.group:
            return "own_group"
        if not self.may[self.targets.department[row]]:
            return "department"
        if self.blocked[row]:
            return "blocked"
        if not self.targets.in_stock[row]:
            return "sold_out"
        return "same_group" if group in self._groups else None
