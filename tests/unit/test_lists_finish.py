"""`finish()`: what stands in a list, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from lists_world import draw_weights, shelf_of, unit

from jobs.complements.finish import REASONS, Limits, Shelf, choose, finish, known, no_lists, refill
from jobs.complements.score import INT32_MIN, order_keys, rescore, scaled_base, scaled_queries
from jobs.complements.search import NONE, Base, Neighbours, Queries, exact_top, neighbours, visual_of
from jobs.rules.compile import Effects


@dataclass(frozen=True)
class Case:
    """Targets 0…n-1 with falling scores 100, 99, …; page of group 50; k = 3."""

    rule: str
    want: list[int]  # targets listed, in order
    neighbours: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    groups: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4, 5])
    sold_out: tuple[int, ...] = ()
    horizon: int = INT32_MIN
    feasible: int = 3
    short: bool = False


CASES = [
    Case("the best k, in order", [0, 1, 2]),
    Case("sold-out targets make room for the next", [1, 3, 4], sold_out=(0, 2)),
    Case("of a group only its best", [0, 3, 4], groups=[7, 7, 7, 3, 4, 5]),
    Case("the best of a group that is in stock", [1, 3, 4], groups=[7, 7, 7, 3, 4, 5], sold_out=(0,)),
    Case("never the page's own group", [1, 2, 3], groups=[50, 1, 2, 3, 4, 5]),
    Case("own group and sold out do not count as feasible", [2, 3], groups=[50, 1, 2, 3, 1, 1], sold_out=(1, 4, 5),
         feasible=2),
    Case("variants count once as feasible", [0, 2], groups=[7, 7, 8, 8, 8, 8], feasible=2),
    Case("departed targets are passed over", [1, 3, 4], neighbours=[-1, 1, -1, 3, 4]),
    Case("nothing in stock", [], sold_out=(0, 1, 2, 3, 4, 5), feasible=0),
    Case("at or below the horizon nothing is certain", [0, 1], horizon=98, short=True),
    Case("filled above the horizon", [0, 1, 2], horizon=97),
    Case("short, though more are feasible beyond what is listed", [0, 1], neighbours=[0, 1, -1, -1, -1], horizon=98,
         short=True),
    Case("no neighbours at all, yet feasible", [], neighbours=[-1] * 5, horizon=100, short=True),
    Case("fewer neighbours than k", [0], neighbours=[0], groups=[0, 50, 50, 50, 50, 50], feasible=1),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
def test_rules(case: Case) -> None:
    group = np.array(case.groups)
    stock = np.ones(6, dtype=bool)
    stock[list(case.sold_out)] = False
    base = Base.of(np.arange(6), np.zeros((6, 128), dtype=np.float32), group, stock)
    rows = np.array([case.neighbours], dtype=np.int64)
    score = np.where(rows >= 0, 100 - rows, 0).astype(np.int32)
    found = Neighbours(
        rows, score, (score // 2).astype(np.int32), np.array([case.horizon], np.int32), np.array([False])
    )
    got = choose(known(found, base), np.array([50]), shelf_of(base), Limits(3), None)
    size = len(case.want)
    assert got.rows[0].tolist() == case.want + [-1] * (3 - size)
    assert got.score[0, :size].tolist() == [100 - r for r in case.want]
    assert got.visual[0, :size].tolist() == [(100 - r) // 2 for r in case.want]
    assert (got.size[0], got.feasible[0], bool(got.certain[0])) == (size, case.feasible, not case.short)


def test_refill_equals_filters_before_selection() -> None:
    """Whatever is known, the short list becomes the one of a search over allowed targets alone."""
    rng = np.random.default_rng(0)
    y = unit(rng.normal(size=(900, 128)))
    group, stock = rng.integers(0, 40, 900), rng.random(900) < 0.1  # deeper than the first look
    base = Base.of(np.arange(900), scaled_base(y), group, stock)
    queries = Queries(
        scaled_queries(draw_weights()("tops", "bags"), unit(rng.normal(size=(3, 128)))), np.array([1, 2, 99])
    )
    nothing = Neighbours(
        np.full((3, 4), -1), np.zeros((3, 4), np.int32), np.zeros((3, 4), np.int32),
        np.full(3, 9, np.int32), np.zeros(3, bool),
    )  # fmt: skip
    got = finish(known(nothing, base), queries, shelf_of(base), Limits(12))
    want = np.empty((3, 12), dtype=np.int64)
    for i, keys in enumerate(exact_top(queries, base, 900)):
        best: dict[int, int] = {}
        for key in keys[keys != NONE].tolist():
            if stock[key & 0xFFFFFFFF]:
                best.setdefault(int(group[key & 0xFFFFFFFF]), key)
        want[i] = list(best.values())[:12]
    assert np.array_equal(order_keys(got.score, got.rows), want)
    assert np.array_equal(got.visual, visual_of(queries.q, base, want))
    assert (got.size == 12).all() and got.refilled.all() and got.certain.all()


def test_full_lists_are_not_searched_again() -> None:
    base = Base.of(np.arange(2), np.zeros((2, 128), np.float32), np.arange(2), np.ones(2, bool))
    found = Neighbours(np.array([[0, 1]]), np.array([[5, 4]], np.int32), np.zeros((1, 2), np.int32),
                       np.array([3], np.int32), np.array([False]))  # fmt: skip
    lists = choose(known(found, base), np.array([9]), shelf_of(base), Limits(2), None)
    assert refill(lists, Queries(np.zeros((1, 128)), np.array([9])), shelf_of(base), Limits(2)) is lists


# --- rules and caps against plain loops over everything ----------------------------------------------------------


@dataclass(frozen=True)
class World:
    queries: Queries
    base: Base
    shelf: Shelf
    vectors: Any
    scores: Any  # [N, T] exact
    visuals: Any


def world(seed: int, pages: int = 12, targets: int = 160, ties: bool = True) -> World:
    rng = np.random.default_rng(seed)
    y = unit(rng.normal(size=(6, 128))[rng.integers(0, 6, targets)] + 0.7 * rng.normal(size=(targets, 128)))
    if ties:
        y[::7] = y[0]
    has = np.sort(rng.choice(targets, int(targets * 0.9), replace=False))  # the others have no vector
    group, stock = rng.integers(0, targets // 2, targets), rng.random(targets) < 0.8
    brand = rng.integers(-1, 5, targets).astype(np.int32)
    price = np.where(rng.random(targets) < 0.9, rng.integers(5, 100, targets), np.nan).astype(np.float64)
    base = Base.of(has, scaled_base(y[has]), group[has], stock[has])
    q = scaled_queries(draw_weights()("tops", "bags"), unit(rng.normal(size=(pages, 128))))
    queries = Queries(q, rng.integers(0, targets // 2, pages))
    every = np.broadcast_to(np.arange(len(has)), (pages, len(has)))
    scores, visuals = np.full((pages, targets), -(10**9)), np.zeros((pages, targets), int)
    scores[:, has], visuals[:, has] = rescore(q, base.scaled, every)
    return World(queries, base, Shelf.of(base, group, stock, brand, price), y, scores, visuals)


def effects_for(w: World, seed: int, k: int) -> Effects:
    """Anything that rules can do, at random."""
    rng = np.random.default_rng(seed)
    n, t, c = len(w.queries), len(w.shelf.group), 3
    allowed = rng.random((c, t)) < rng.choice([0.1, 0.7, 1.0])
    boost = np.where(rng.random((c, t)) < 0.1, rng.integers(-400_000, 400_000, (c, t)), 0).astype(np.int32)
    if rng.random() < 0.3:
        boost[:] = 0
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    bounded = rng.random(n) < 0.3
    low[bounded], high[bounded] = 20, rng.integers(30, 90, bounded.sum())
    pin_row, pin_at = np.full((n, 2), -1, np.int32), np.full((n, 2), -1, np.int32)
    own_row = np.full((n, k), -1, np.int32)
    own, fill = rng.random(n) < 0.2, rng.random(n) < 0.5
    for i in range(n):
        taken, able = set(), [r for r in rng.permutation(t) if w.shelf.in_stock[r]]
        able = [r for r in able if w.shelf.group[r] != w.queries.group[i]
                and not (w.shelf.group[r] in taken or taken.add(w.shelf.group[r]))]  # fmt: skip
        m = 0
        if own[i]:
            m = int(rng.integers(0, k + 1))
            own_row[i, :m] = able[:m]
        if not own[i] or fill[i]:
            places = np.sort(rng.permutation(np.arange(m, k))[: rng.integers(0, 3)])
            pin_at[i, : len(places)], pin_row[i, : len(places)] = places, able[m : m + len(places)]
    klass = rng.integers(0, c, n).astype(np.int32)
    return Effects(klass, allowed, boost, low, high, pin_row, pin_at, own_row, own, fill, (), 0)


def by_hand(w: World, i: int, limits: Limits, e: Effects | None) -> list[tuple[int, str]]:
    """One page's list: (row, reason), by looking at every target."""
    k, shelf = limits.k, w.shelf
    places: list[tuple[int, str] | None] = [None] * k
    if e is not None and e.own[i]:
        for n, r in enumerate(r for r in e.own_row[i] if r >= 0):
            places[n] = (int(r), "list")
    if e is None or not e.own[i] or e.fill[i]:
        if e is not None:
            for r, p in zip(e.pin_row[i], e.pin_at[i], strict=True):
                if r >= 0:
                    places[p] = (int(r), "pin")
        boost = e.boost[e.klass[i]] if e is not None else np.zeros(len(shelf.group), int)
        for r in sorted(w.base.rows.tolist(), key=lambda r: (-(w.scores[i, r] + boost[r]), r)):
            there = [p[0] for p in places if p is not None]
            if len(there) == k:
                break
            able = shelf.in_stock[r] and shelf.group[r] != w.queries.group[i]
            able = able and shelf.group[r] not in [shelf.group[o] for o in there]
            if e is not None:
                able = able and e.allowed[e.klass[i], r]
                if np.isfinite(e.low[i]) or np.isfinite(e.high[i]):
                    able = able and e.low[i] <= shelf.price[r] <= e.high[i]
            if limits.per_brand and shelf.brand[r] >= 0:
                able = able and sum(shelf.brand[o] == shelf.brand[r] for o in there) < limits.per_brand
            if limits.per_look:
                like = [o for o in there if shelf.base_row[o] >= 0 and
                        scaled_base(w.vectors[o]).astype(float) @ scaled_base(w.vectors[r]).astype(float)
                        >= limits.look * 2.0**40]  # fmt: skip
                able = able and len(like) < limits.per_look
            if able:
                places[places.index(None)] = (r, "boost" if boost[r] > 0 else "bury" if boost[r] < 0 else "model")
    return [p for p in places if p is not None]


@pytest.mark.parametrize("depth", [1, 4, 20, 200], ids=lambda d: f"depth {d}")
@pytest.mark.parametrize("caps", [(0, 0), (2, 0), (0, 1), (1, 2)], ids=lambda c: f"brand {c[0]} look {c[1]}")
@pytest.mark.parametrize("ruled", [False, True], ids=["plain", "ruled"])
def test_lists_from_few_neighbours_are_those_of_looking_at_everything(
    depth: int, caps: tuple[int, int], ruled: bool
) -> None:
    limits = Limits(5, *caps, look=0.8)
    for seed in range(12):
        w = world(seed)
        e = effects_for(w, seed, limits.k) if ruled else None
        found = neighbours(w.queries, w.base, depth, 50)
        got = finish(known(found, w.base), w.queries, w.shelf, limits, e)
        for i in range(len(w.queries)):
            want = by_hand(w, i, limits, e)
            size = int(got.size[i])
            assert [(int(r), REASONS[c]) for r, c in zip(got.rows[i, :size], got.reason[i, :size], strict=True)] == want
            for n, (r, why) in enumerate(want):
                scored = why not in ("pin", "list")
                assert got.score[i, n] == (w.scores[i, r] if scored else 0)
                assert got.visual[i, n] == (w.visuals[i, r] if scored else 0)
        assert got.certain.all()


def test_pages_without_a_vector_are_empty_but_feasible() -> None:
    base = Base.of(np.arange(4), np.zeros((4, 128), np.float32), np.array([0, 0, 1, 2]), np.array([1, 1, 1, 0], bool))
    got = no_lists(np.array([0, 9]), base, 3)
    assert got.size.tolist() == [0, 0]
    assert got.feasible.tolist() == [1, 2]
