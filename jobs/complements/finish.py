"""From neighbours to the published list: pure functions on arrays (design section 5, second layer).

In this order, whatever comes first winning:

    safety      in stock, not blocked, of a department and category the page may show, not of the page's own group
    own list    a merchandiser's list for the page
    pins        at their positions
    the model   by (-(score + boost), item_id): filters, one a group, caps on brands and on looks, cut at k
    exploration of these places a share to new products, by lot; filters, groups and caps as for the model

The model's part uses what lies above the horizon: an unlisted target scores at most the horizon, a boosted one was
scored on its own (`with_boosted`), and a bury only lowers. So what stands above it is what a search of all targets
with the filters first would have given; where that does not fill the list, that search is made (`refill`).
New products are drawn from all that may stand on the page, wherever they score, once the model's part before them is
certain; their scores are worked out on their own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.complements.hashing import Int8, UInt64
from jobs.complements.score import (
    INT32_MIN,
    Bools,
    Float64,
    Int32,
    Int64,
    micro,
    order_keys,
    rescore,
    row_of_key,
    score_of_key,
)
from jobs.complements.search import NONE, Base, Neighbours, Queries
from jobs.complements.select import SCORED, select
from schemas.tables import REASONS

if TYPE_CHECKING:
    from jobs.rules.compile import Effects

__all__ = ["REASONS", "SCORED", "Explore", "Known", "Limits", "Lists", "Shelf", "choose", "feasible", "finish", "known",
           "no_lists", "refill"]  # fmt: skip

_EXPLORE = REASONS.index("explore")
_REFILL_CELLS = 1 << 22  # scores held at once when lists are searched again: 32 MiB


@dataclass(frozen=True)
class Shelf:
    """The T products of a target category as tonight's lists see them, by row of the gallery; `base` holds the
    possible targets among them, for one kind of page."""

    group: Int64  # [T]
    in_stock: Bools  # [T]
    brand: Int32  # [T] -1: none
    price: Float64  # [T] nan: none
    base: Base
    base_row: Int64  # [T] row of the base, -1 where it is no possible target

    @classmethod
    def of(cls, base: Base, group: Int64, in_stock: Bools, brand: Int32, price: Float64) -> Shelf:
        base_row = np.full(len(group), -1, dtype=np.int64)
        base_row[base.rows] = np.arange(len(base))
        return cls(group, in_stock, brand, price, base, base_row)


@dataclass(frozen=True)
class Limits:
    """k, and what keeps a list diverse; 0 switches a cap off."""

    k: int
    per_brand: int = 0
    per_look: int = 0
    look: float = 0.95  # inner product from which two products look alike
    explore: float = 0.0  # share of the places that is for new products
    explore_seed: int = 0

    @property
    def look_units(self) -> float:
        """`look` in units of S (both sides scaled by 2^20)."""
        return self.look * 2.0**40


@dataclass(frozen=True)
class Explore:
    """New products that may be drawn into the lists of N pages (explore.py makes the words)."""

    share: float  # of k
    rows: Int64  # [M] of the gallery: possible targets, whatever their stock
    words: UInt64  # [M] of the products
    pages: UInt64  # [N] of the pages, with seed, run date and target category

    def take(self, at: Int64) -> Explore:
        return replace(self, pages=self.pages[at])


@dataclass(frozen=True)
class Lists:
    """For N products the finished list of one slot. Behind a list's size its rows are -1."""

    rows: Int64  # [N, k] rows of the target category's gallery
    score: Int32  # [N, k] as the model gave it; a boost moves the place, not the score
    visual: Int32  # [N, k]
    reason: Int8  # [N, k] number in REASONS
    size: Int32  # [N]
    feasible: Int32  # [N] min(k, groups that could fill it, rules and caps apart)
    certain: Bools  # [N] no search of all targets would give another list
    refilled: Bools  # [N] searched again, the filters applied before selection

    def __len__(self) -> int:
        return len(self.size)

    def take(self, at: Int64) -> Lists:
        return Lists(*(getattr(self, f.name)[at] for f in fields(self)))


@dataclass(frozen=True)
class Known:
    """What is known of N pages' targets: the best by (-adjusted score, item_id), gallery rows in the keys."""

    keys: Int64  # [N, D] ascending; NONE where there is no more
    score: Int32  # [N, D] unadjusted
    visual: Int32  # [N, D]
    horizon: Int32  # [N] every possible target with an adjusted score above it is among the keys

    def take(self, at: Int64) -> Known:
        return Known(self.keys[at], self.score[at], self.visual[at], self.horizon[at])


def known(found: Neighbours, base: Base) -> Known:
    """Neighbours (rows of the base) as `Known`, nothing adjusted. A row of -1 is passed over."""
    there = found.rows >= 0
    rows = base.rows[np.maximum(found.rows, 0)] if len(base) else np.zeros_like(found.rows)
    keys = np.where(there, order_keys(found.score, rows), NONE)
    return Known(keys, found.score, found.visual, found.horizon)


def feasible(group: Int64, base: Base, k: int) -> Int32:
    """min(k, distinct groups with a member in stock, the page's own left out) for pages of these groups."""
    others = len(base.stock_groups) - np.isin(group, base.stock_groups)
    return np.minimum(k, others).astype(np.int32)


def finish(
    have: Known, queries: Queries, shelf: Shelf, limits: Limits, effects: Effects | None = None,
    explore: Explore | None = None,
) -> Lists:  # fmt: skip
    """The finished lists of N pages: from what is known, and where that does not do, from all possible targets."""
    if effects is None or not (effects.boost != 0).any():
        return _made(have, queries, shelf, limits, effects, explore)
    lifted = int((effects.boost[:, shelf.base.rows] > 0).any(axis=0).sum())
    step = max(1, _REFILL_CELLS // (lifted + have.keys.shape[1] + 1))
    parts = []
    for a in range(0, max(1, len(queries)), step):
        at = np.arange(a, min(len(queries), a + step))
        some, own = queries.take(at), taken(effects, at)
        moved = adjusted(with_boosted(have.take(at), some, shelf, own), own)
        parts.append(_made(moved, some, shelf, limits, own, None if explore is None else explore.take(at)))
    return Lists(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Lists)))


def _made(
    have: Known, queries: Queries, shelf: Shelf, limits: Limits, effects: Effects | None, explore: Explore | None
) -> Lists:
    lists = choose(have, queries.group, shelf, limits, effects, explore)
    if explore is not None:
        lists = _with_scores(lists, queries, shelf)
    return refill(lists, queries, shelf, limits, effects, explore)


def choose(
    have: Known, group: Int64, shelf: Shelf, limits: Limits, effects: Effects | None, explore: Explore | None = None
) -> Lists:
    """The lists as far as the horizon allows; `certain` tells where that is all. Those drawn have no scores yet."""
    n, k = len(group), limits.k
    able = feasible(group, shelf.base, k)
    rows, at, reason, size, certain = select(
        have.keys, have.horizon, group, able, shelf.group, shelf.in_stock, shelf.brand, shelf.price,
        shelf.base.scaled, shelf.base_row, limits.k, limits.per_brand, limits.per_look, limits.look_units,
        *_arrays(effects, n), *_lots(explore),
    )  # fmt: skip
    there, pick = at >= 0, np.maximum(at, 0)
    if have.keys.shape[1] == 0:
        score, visual = np.zeros((n, k), dtype=np.int32), np.zeros((n, k), dtype=np.int32)
    else:
        score = np.where(there, np.take_along_axis(have.score, pick, axis=1), 0).astype(np.int32)
        visual = np.where(there, np.take_along_axis(have.visual, pick, axis=1), 0).astype(np.int32)
    return Lists(rows, score, visual, reason, size, able, certain, np.zeros(n, dtype=np.bool_))


def refill(
    lists: Lists, queries: Queries, shelf: Shelf, limits: Limits, effects: Effects | None = None,
    explore: Explore | None = None,
) -> Lists:  # fmt: skip
    """The same lists with the uncertain ones made from all possible targets, filters before selection, all exact."""
    which = np.flatnonzero(~lists.certain)
    if not len(which):
        return lists
    out = {f: getattr(lists, f).copy() for f in ("rows", "score", "visual", "reason", "size", "certain", "refilled")}
    step = max(1, _REFILL_CELLS // max(1, len(shelf.base)))
    for a in range(0, len(which), step):
        at = which[a : a + step]
        some, own = queries.take(at), None if effects is None else taken(effects, at)
        lots = None if explore is None else explore.take(at)
        # The best of all targets will do for most; what then is still open looks at every one.
        new = choose(everything(some, shelf.base, own, 16 * limits.k), some.group, shelf, limits, own, lots)
        if (open_ := np.flatnonzero(~new.certain)).size:
            rest, theirs = some.take(open_), None if own is None else taken(own, open_)
            every = everything(rest, shelf.base, theirs, len(shelf.base))
            last = choose(every, rest.group, shelf, limits, theirs, None if lots is None else lots.take(open_))
            for f in ("rows", "reason", "size"):
                getattr(new, f)[open_] = getattr(last, f)
        for f in ("rows", "reason", "size"):
            out[f][at] = getattr(new, f)
        out["score"][at], out["visual"][at] = _parts(some, shelf, new)
    out["certain"][which] = out["refilled"][which] = True
    return replace(lists, **out)


def everything(queries: Queries, base: Base, effects: Effects | None, n: int) -> Known:
    """The n best of all possible targets of each query, everything scored; scores and visual parts are left 0."""
    raw = micro(queries.q @ base.scaled.T.astype(np.float64)) if len(base) else np.zeros((len(queries), 0), np.int32)
    moved = raw if effects is None else (raw + effects.boost[effects.klass][:, base.rows]).astype(np.int32)
    keys, horizon = order_keys(moved, base.rows[None, :]), np.full(len(queries), INT32_MIN, np.int32)
    if n < len(base):
        keys = np.partition(keys, n, axis=1)[:, : n + 1]
        horizon, keys = score_of_key(keys[:, n]), keys[:, :n]
    empty = np.zeros(keys.shape, dtype=np.int32)
    return Known(np.sort(keys, axis=1), empty, empty, horizon)


def with_boosted(have: Known, queries: Queries, shelf: Shelf, effects: Effects) -> Known:
    """`have` with every target that a rule lifts, scored exactly, whether it was among the neighbours or not."""
    base, n = shelf.base, len(queries)
    lifted = np.flatnonzero((effects.boost[:, base.rows] > 0).any(axis=0))  # rows of the base
    if not len(lifted):
        return have
    rows = base.rows[lifted]
    raw, visual = np.empty((n, len(rows)), np.int32), np.empty((n, len(rows)), np.int32)
    step = max(1, _REFILL_CELLS // len(rows))
    for a in range(0, n, step):
        own = np.broadcast_to(lifted, (min(step, n - a), len(lifted)))
        raw[a : a + step], visual[a : a + step] = rescore(queries.q[a : a + step], base.scaled, own)
    keys = order_keys(raw, rows[None, :])
    keys[base.group[lifted] == queries.group[:, None]] = NONE
    keys[effects.boost[effects.klass][:, rows] <= 0] = NONE  # not lifted on this page: it stays behind the horizon
    keys = np.hstack([have.keys, keys])
    order = np.argsort(keys, axis=1, kind="stable")
    keys = np.take_along_axis(keys, order, axis=1)
    keys[:, 1:][(keys[:, 1:] == keys[:, :-1]) & (keys[:, 1:] != NONE)] = NONE  # listed and lifted: once
    again = np.argsort(keys, axis=1, kind="stable")
    take = np.take_along_axis(order, again, axis=1)
    return Known(
        np.take_along_axis(keys, again, axis=1),
        np.take_along_axis(np.hstack([have.score, raw]), take, axis=1),
        np.take_along_axis(np.hstack([have.visual, visual]), take, axis=1),
        have.horizon,
    )


def adjusted(have: Known, effects: Effects) -> Known:
    """`have` in the order of score + boost."""
    there = have.keys != NONE
    rows = np.where(there, row_of_key(have.keys), 0)
    moved = score_of_key(have.keys) + np.where(there, effects.boost[effects.klass[:, None], rows], 0)
    keys = np.where(there, order_keys(moved.astype(np.int32), rows), NONE)
    order = np.argsort(keys, axis=1, kind="stable")
    keys, score, visual = (np.take_along_axis(a, order, axis=1) for a in (keys, have.score, have.visual))
    return Known(keys, score, visual, have.horizon)


def taken(effects: Effects, at: Int64) -> Effects:
    """The effects on some of the pages."""
    names = ("klass", "low", "high", "pin_row", "pin_at", "own_row", "own", "fill")
    return replace(effects, **{f: getattr(effects, f)[at] for f in names})


def no_lists(group: Int64, base: Base, k: int) -> Lists:
    """The lists of pages that have no query: empty, though they may be feasible."""
    n = len(group)
    zeros, size = np.zeros((n, k), dtype=np.int32), np.zeros(n, dtype=np.int32)
    return Lists(
        np.full((n, k), -1, dtype=np.int64), zeros, zeros.copy(), zeros.astype(np.int8), size,
        feasible(group, base, k), np.ones(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_),
    )  # fmt: skip


def _parts(queries: Queries, shelf: Shelf, lists: Lists) -> tuple[Int32, Int32]:
    """Score and visual part of what stands in lists, by the exact rule; 0 where an entry carries none."""
    there = (lists.rows >= 0) & (SCORED[lists.reason] == 1)
    if not len(shelf.base):
        return np.zeros_like(lists.score), np.zeros_like(lists.score)
    rows = np.where(there, shelf.base_row[np.maximum(lists.rows, 0)], 0)
    score, visual = rescore(queries.q, shelf.base.scaled, rows)
    return np.where(there, score, 0).astype(np.int32), np.where(there, visual, 0).astype(np.int32)


def _with_scores(lists: Lists, queries: Queries, shelf: Shelf) -> Lists:
    """The same lists, in place, with scores and visual parts of what was drawn."""
    drawn = lists.reason == _EXPLORE
    at = np.flatnonzero(drawn.any(axis=1))
    if len(at):
        some = drawn[at]
        places = np.argsort(~some, axis=1, kind="stable")[:, : int(some.sum(axis=1).max())]
        is_ = np.take_along_axis(some, places, axis=1)
        rows = np.where(is_, shelf.base_row[np.take_along_axis(lists.rows[at], places, axis=1)], 0)
        score, visual = rescore(queries.q[at], shelf.base.scaled, rows)
        for into, new in ((lists.score, score), (lists.visual, visual)):
            into[at[:, None], places] = np.where(is_, new, into[at[:, None], places])
    return lists


def _lots(explore: Explore | None) -> tuple[Any, ...]:
    if explore is None:
        none = np.zeros(0, dtype=np.uint64)
        return 0.0, np.zeros(0, dtype=np.int64), none, none
    return explore.share, explore.rows, explore.words, explore.pages


def _arrays(effects: Effects | None, n: int) -> tuple[Any, ...]:
    if effects is None:
        none = np.zeros((n, 0), dtype=np.int32)
        bound = np.zeros(0)
        off = np.zeros(0, dtype=np.bool_)
        return (False, np.zeros(0, np.int32), np.zeros((0, 0), np.bool_), np.zeros((0, 0), np.int32),
                bound, bound, none, none, none, off, off)  # fmt: skip
    e = effects
    return True, e.klass, e.allowed, e.boost, e.low, e.high, e.pin_row, e.pin_at, e.own_row, e.own, e.fill
