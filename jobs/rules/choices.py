"""How many products rules leave to choose from: what tells a filter that is too narrow."""

from __future__ import annotations

import numpy as np

from jobs.rules.attributes import Attributes, Bools, Float64, Int16, Int32, Int64
from jobs.rules.compile import Effects
from medal_model.compiled import compiled


def choices(effects: Effects | None, pages: Attributes, targets: Attributes, may: Bools) -> Int64:
    """[N] groups with a product that a page may show: in stock, of an allowed department, not the page's own group,
    let pass by blocks and filters. Scores apart: what filters alone leave."""
    n = len(pages)
    out = np.zeros(n, dtype=np.int64)
    if not n or not len(targets):
        return out
    klass, allowed = np.zeros(n, dtype=np.int32), np.ones((1, len(targets)), dtype=np.bool_)
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    if effects is not None:
        klass, allowed, low, high = effects.klass, effects.allowed, effects.low, effects.high
    names, code = np.unique(targets.group, return_inverse=True)
    at = np.minimum(np.searchsorted(names, pages.group), len(names) - 1)
    own = np.where(names[at] == pages.group, at, len(names))  # one past the last where the group has no target
    order = np.argsort(klass.astype(np.int64) * len(may) + pages.department, kind="stable")
    rank = np.argsort(np.argsort(targets.price, kind="stable"))  # by price, those without one last
    _count(
        order, klass, pages.department, own, low, high, np.ascontiguousarray(allowed), rank,
        targets.in_stock, may, targets.department, code.reshape(-1), len(names), targets.price, out,
    )  # fmt: skip
    return out


_RUN = 64  # targets told apart from all others at once


@compiled()
def _count(
    order: Int64, klass: Int32, department: Int16, own: Int64, low: Float64, high: Float64, allowed: Bools,
    rank: Int64, stock: Bools, may: Bools, target_department: Int16, group: Int64, groups: int, price: Float64,
    out: Int64,
) -> None:  # fmt: skip
    """Fill out [N]. `order`: pages by class and department; `rank` [T]: place of each target by price."""
    n, t = len(order), len(rank)
    seen = np.full(groups + 1, -1, dtype=np.int64)
    good, rows = np.empty(t, dtype=np.int64), np.empty(t, dtype=np.int64)
    latest, tree = np.empty(groups + 1, dtype=np.int64), np.empty(t + 1, dtype=np.int64)
    first, then = np.empty(t + 1, dtype=np.int64), np.empty(n, dtype=np.int64)
    begin, goods, of = 0, 0, -1
    while begin < n:
        c, d = klass[order[begin]], department[order[begin]]
        end = begin
        while end < n and klass[order[end]] == c and department[order[end]] == d:
            end += 1
        if c != of:  # what the class leaves, by price
            of, goods = c, 0
            for start in range(0, t, _RUN):
                stop, some = min(t, start + _RUN), False
                for r in range(start, stop):
                    some |= allowed[c, r]
                if some:  # mostly a class is one brand's, or one season's
                    for r in range(start, stop):
                        good[goods] = r
                        goods += allowed[c, r] and stock[r]
            good[:goods] = good[np.argsort(rank[good[:goods]])]
        m = priced = distinct = 0
        for i in range(goods):
            r = good[i]
            if may[d, target_department[r]]:
                rows[m] = r
                m += 1
                priced += not np.isnan(price[r])
                if seen[group[r]] != begin:
                    seen[group[r]] = begin
                    distinct += 1
        bounded = False
        for i in range(begin, end):
            p = order[i]
            if np.isfinite(low[p]) or np.isfinite(high[p]):
                bounded = True
            else:
                out[p] = distinct - (own[p] < groups and seen[own[p]] == begin)
        if bounded:
            _bands(order[begin:end], own, low, high, rows[:priced], group, price, latest, tree, first, then, out)
        begin = end


@compiled()
def _search(price: Float64, rows: Int64, x: float, right: bool) -> int:
    """np.searchsorted of the prices of rows."""
    a, b = 0, len(rows)
    while a < b:
        mid = (a + b) >> 1
        v = price[rows[mid]]
        if v < x or (right and v == x):
            a = mid + 1
        else:
            b = mid
    return a


@compiled()
def _bands(
    pages: Int64, own: Int64, low: Float64, high: Float64, rows: Int64, group: Int64, price: Float64, latest: Int64,
    tree: Int64, first: Int64, then: Int64, out: Int64,
) -> None:  # fmt: skip
    """Distinct groups of rows (by price) inside each page's band [low, high], its own apart.

    Rows are passed once. A Fenwick tree counts the latest row of each group by place, so the groups that lie in
    rows[a:b] are, when b rows were passed, the latest ones from a on.
    """
    m = len(rows)
    first[: m + 1], tree[: m + 1] = -1, 0
    for i in range(m):
        latest[group[rows[i]]] = -1
    for j in range(len(pages)):  # pages by the end of their band, chained
        p = pages[j]
        if np.isfinite(low[p]) or np.isfinite(high[p]):
            b = _search(price, rows, high[p], True)
            then[j], first[b] = first[b], j
    there = 0
    for b in range(m + 1):
        if b:
            g = group[rows[b - 1]]
            if latest[g] >= 0:
                i = latest[g] + 1
                while i <= m:
                    tree[i] -= 1
                    i += i & -i
                there -= 1
            latest[g] = b - 1
            i = b
            while i <= m:
                tree[i] += 1
                i += i & -i
            there += 1
        j = first[b]
        while j >= 0:
            p = pages[j]
            a = _search(price, rows, low[p], False)
            count, i = there, a
            while i > 0:
                count -= tree[i]
                i -= i & -i
            if own[p] < len(latest) - 1 and _in(rows, group, latest, own[p], a, b):
                count -= 1
            out[p] = max(count, 0)
            j = then[j]


@compiled()
def _in(rows: Int64, group: Int64, latest: Int64, own: int, a: int, b: int) -> bool:
    """Is one of rows[a:b] of this group? `latest` of a group that none of the rows has is of an earlier call."""
    at = latest[own]
    return a <= at < b and group[rows[at]] == own
