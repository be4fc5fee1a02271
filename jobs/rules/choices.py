"""How many products rules leave to choose from: what tells a filter that is too narrow."""

from __future__ import annotations

import numpy as np

from jobs.rules.attributes import Attributes, Bools, Float64, Int64
from jobs.rules.compile import Effects


def choices(effects: Effects | None, pages: Attributes, targets: Attributes, may: Bools) -> Int64:
    """[N] groups with a product that a page may show: in stock, of an allowed department, not the page's own group,
    let pass by blocks and filters. Scores apart: what filters alone leave."""
    out = np.zeros(len(pages), dtype=np.int64)
    klass = np.zeros(len(pages), dtype=np.int64) if effects is None else effects.klass.astype(np.int64)
    kind = klass * len(may) + pages.department
    low = np.full(len(pages), -np.inf) if effects is None else effects.low
    high = np.full(len(pages), np.inf) if effects is None else effects.high
    bounded = np.isfinite(low) | np.isfinite(high)
    order = np.argsort(kind, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        c, department = divmod(int(kind[mine[0]]), len(may)) if len(mine) else (0, 0)
        good = targets.in_stock & may[department][targets.department]
        if effects is not None:
            good &= effects.allowed[c]
        plain, banded = mine[~bounded[mine]], mine[bounded[mine]]
        groups = np.unique(targets.group[good])
        out[plain] = len(groups) - np.isin(pages.group[plain], groups)
        if len(banded):
            out[banded] = _in_band(low[banded], high[banded], pages.group[banded], targets, np.flatnonzero(good))
    return out


def _in_band(low: Float64, high: Float64, own: Int64, targets: Attributes, rows: Int64) -> Int64:
    """Groups among the rows with a price in each band, the page's own apart. A group counts where its product has no
    cheaper one of the group inside the band."""
    rows = rows[~np.isnan(targets.price[rows])]
    rows = rows[np.argsort(targets.price[rows], kind="stable")]
    price, group = targets.price[rows], targets.group[rows]
    cheaper = np.full(len(rows), -1, dtype=np.int64)
    order = np.argsort(group, kind="stable")
    same = group[order][1:] == group[order][:-1]
    cheaper[order[1:][same]] = order[:-1][same]
    start, stop = np.searchsorted(price, low, side="left"), np.searchsorted(price, high, side="right")
    elsewhere = ~np.isin(own, group)
    asked = np.column_stack([start, stop, np.where(elsewhere, -1, own)])
    unique, back = np.unique(asked, axis=0, return_inverse=True)
    counts = [
        np.count_nonzero(cheaper[a:b] < a) - bool(g >= 0 and (group[a:b] == g).any()) for a, b, g in unique.tolist()
    ]
    return np.array(counts, dtype=np.int64)[back.reshape(-1)]
