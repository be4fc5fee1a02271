"""From neighbours to the published list: pure functions on arrays (design section 5, second layer).

In stock, one a group (its best member), never the page's own group, cut at k. Departments, categories and
never-pairs are in the Base already: it holds possible targets alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jobs.complements.score import INT32_MIN, Bools, Int32, Int64, row_of_key, score_of_key
from jobs.complements.search import NONE, Base, Neighbours, Queries, exact_groups, visual_of

REASON = "model"  # why an item stands in a list; pins and rules come with their own words


@dataclass(frozen=True)
class Lists:
    """For N products the finished list of one slot. Behind a list's size its rows are -1."""

    rows: Int64  # [N, k] rows of the Base
    score: Int32  # [N, k]
    visual: Int32  # [N, k]
    size: Int32  # [N]
    feasible: Int32  # [N] min(k, groups that could fill it)
    refilled: Bools  # [N] searched again, the filters applied before selection

    @property
    def short(self) -> Bools:
        """Where what is known above the horizon does not fill the list; `refill` does."""
        return self.size < self.feasible


def feasible(group: Int64, base: Base, k: int) -> Int32:
    """min(k, distinct groups with a member in stock, the page's own left out) for pages of these groups."""
    others = len(base.stock_groups) - np.isin(group, base.stock_groups)
    return np.minimum(k, others).astype(np.int32)


def finish(found: Neighbours, group: Int64, base: Base, k: int) -> Lists:
    """The lists of N pages of these groups from their neighbours, as far as the horizon allows.

    A row of -1 among the neighbours stands for a target that is possible no more, and is passed over.
    """
    rows = found.rows
    at = np.maximum(rows, 0)
    targets = base.group[at] if len(base) else np.zeros_like(rows)
    complete = (found.horizon == INT32_MIN)[:, None]
    usable = (rows >= 0) & (complete | (found.score > found.horizon[:, None])) & (targets != group[:, None])
    if len(base):
        usable &= base.in_stock[at]
    keep = usable & _first_of_group(np.where(usable, targets, -1))
    keep &= np.cumsum(keep, axis=1) <= k
    # A stable sort moves what is kept to the front, in order.
    front = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(keep, front, axis=1)

    def packed(a: Int32 | Int64, fill: int) -> Int64:
        out = np.full((len(rows), k), fill, dtype=np.int64)
        out[:, : front.shape[1]] = np.where(kept, np.take_along_axis(a, front, axis=1), fill)
        return out

    return Lists(
        rows=packed(rows, -1),
        score=packed(found.score, 0).astype(np.int32),
        visual=packed(found.visual, 0).astype(np.int32),
        size=keep.sum(axis=1).astype(np.int32),
        feasible=feasible(group, base, k),
        refilled=np.zeros(len(rows), dtype=np.bool_),
    )


def refill(lists: Lists, queries: Queries, base: Base, k: int) -> Lists:
    """The same lists with the short ones searched again: stock and groups first, then selection, all exact."""
    which = np.flatnonzero(lists.short)
    if not len(which):
        return lists
    some = queries.take(which)
    keys = exact_groups(some, base, k)
    there = keys != NONE
    rows, score, visual = lists.rows.copy(), lists.score.copy(), lists.visual.copy()
    size, refilled = lists.size.copy(), lists.refilled.copy()
    rows[which] = np.where(there, row_of_key(keys), -1)
    score[which] = np.where(there, score_of_key(keys), 0)
    visual[which] = visual_of(some.q, base, keys)
    size[which] = there.sum(axis=1)
    refilled[which] = True
    return replace(lists, rows=rows, score=score, visual=visual, size=size, refilled=refilled)


def no_lists(group: Int64, base: Base, k: int) -> Lists:
    """The lists of pages without a vector: empty, though they may be feasible."""
    n = len(group)
    return Lists(
        rows=np.full((n, k), -1, dtype=np.int64),
        score=np.zeros((n, k), dtype=np.int32),
        visual=np.zeros((n, k), dtype=np.int32),
        size=np.zeros(n, dtype=np.int32),
        feasible=feasible(group, base, k),
        refilled=np.zeros(n, dtype=np.bool_),
    )


def _first_of_group(group: Int64) -> Bools:
    """True where a row's value stands for the first time, reading from the left."""
    order = np.argsort(group, axis=1, kind="stable")
    ordered = np.take_along_axis(group, order, axis=1)
    first = np.ones(group.shape, dtype=np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    out = np.empty_like(first)
    np.put_along_axis(out, order, first, axis=1)
    return out
