"""How many products rules leave to choose from: what tells a filter that is too narrow."""

from __future__ import annotations

import numpy as np

from jobs.rules.attributes import Attributes, Bools, Float64, Int64
from jobs.rules.compile import Effects


def choices(effects: Effects | None, pages: Attributes, targets: Attributes, may: Bools) -> Int64:
    """[N] groups with a product that a page may show: in stock, of an allowed department, not the page's own group,
    let pass by blocks and filters. Scores apart: what filters alone leave."""
    out = np.zeros(len(pages), dtype=np.int64)
    if not len(pages):
        return out
    shelf = _Shelf(targets)
    own = shelf.groups_of(pages.group)
    klass = np.zeros(len(pages), dtype=np.int64) if effects is None else effects.klass.astype(np.int64)
    low, high = np.full(len(pages), -np.inf), np.full(len(pages), np.inf)
    if effects is not None:
        low, high = effects.low, effects.high
    bounded = np.isfinite(low) | np.isfinite(high)
    stocked = [targets.in_stock & row[targets.department] for row in may]
    kind = klass * len(may) + pages.department
    order = np.argsort(kind, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        c, department = divmod(int(kind[mine[0]]), len(may))
        good = stocked[department] if effects is None else stocked[department] & effects.allowed[c]
        plain, banded = mine[~bounded[mine]], mine[bounded[mine]]
        if len(plain):
            there = shelf.present(good)
            out[plain] = np.count_nonzero(there) - there[own[plain]]
        if len(banded):
            out[banded] = shelf.in_bands(good, low[banded], high[banded], own[banded])
    return out


class _Shelf:
    """The targets' groups and prices as counting needs them, worked out once."""

    def __init__(self, targets: Attributes) -> None:
        self.names, code = np.unique(targets.group, return_inverse=True)
        self.code = code.reshape(-1)  # [T] groups from 0
        self.price = targets.price
        self.priced = ~np.isnan(self.price)
        self.rank = np.argsort(np.argsort(self.price, kind="stable"))  # [T] place by price

    def groups_of(self, groups: Int64) -> Int64:
        """Codes of groups; one past the last for a group that has no target."""
        at = np.searchsorted(self.names, groups)
        found = self.names[np.minimum(at, len(self.names) - 1)] == groups if len(self.names) else np.zeros(len(groups))
        return np.where(found, at, len(self.names))

    def present(self, good: Bools) -> Bools:
        """One flag a group, and a last one, False: is one of its targets good?"""
        flags = np.zeros(len(self.names) + 1, dtype=np.bool_)
        flags[self.code[good]] = True
        return flags

    def in_bands(self, good: Bools, low: Float64, high: Float64, own: Int64) -> Int64:
        """Groups among the good with a price in each band, the page's own apart.

        A target counts where no cheaper one of its group is inside the band too.
        """
        rows = np.flatnonzero(good & self.priced)
        rows = rows[np.argsort(self.rank[rows])]
        price, group = self.price[rows], self.code[rows]
        chain = np.argsort(group, kind="stable")  # in each group by price
        cheaper = np.full(len(rows), -1, dtype=np.int64)
        same = group[chain[1:]] == group[chain[:-1]]
        cheaper[chain[1:][same]] = chain[:-1][same]
        start, stop = np.searchsorted(price, low, side="left"), np.searchsorted(price, high, side="right")
        mine = np.where(self.present(good)[own], own, -1)
        asked, back = np.unique(np.column_stack([start, stop, mine]), axis=0, return_inverse=True)
        counts = [
            np.count_nonzero(cheaper[a:b] < a) - bool(g >= 0 and (group[a:b] == g).any()) for a, b, g in asked.tolist()
        ]
        return np.array(counts, dtype=np.int64)[back.reshape(-1)]
