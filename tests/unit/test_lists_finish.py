"""`finish()`: what stands in a list, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from lists_world import draw_weights, shelf_of, unit

from jobs.complements.finish import REASONS, Explore, Limits, Shelf, choose, finish, known, no_lists, refill
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


def mix(x: int) -> int:
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def explore_for(w: World, seed: int, share: float) -> Explore:
    """A quarter of the possible targets is new, far and near, in stock or not."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(w.base.rows, len(w.base) // 4, replace=False))
    words, pages = (rng.integers(0, 2**64, n, dtype=np.uint64) for n in (len(rows), len(w.queries)))
    return Explore(share, rows, words, pages)


def by_hand(w: World, i: int, limits: Limits, e: Effects | None, x: Explore | None = None) -> list[tuple[int, str]]:
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
        page, want, new = (0, 0, []) if x is None else (int(x.pages[i]), 0, x.rows.tolist())
        if x is not None:
            want = min(int(x.share * k + (mix((page + 1) % 2**64) >> 11) / 2**53), k - 1)
            lot = dict(zip(new, (mix(page ^ int(word)) for word in x.words), strict=True))
            new = sorted((r for r in new if boost[r] >= 0), key=lot.get)
        by_score = sorted(w.base.rows.tolist(), key=lambda r: (-(w.scores[i, r] + boost[r]), r))
        # the model but for the last places, the lots, the model again: (row, drawn, at most so many in all)
        filled = sum(p is not None for p in places)
        turns = [(r, False, max(k - want, filled)) for r in by_score] + [(r, True, -1) for r in new]
        left = want
        for r, lots, most in [*turns, *((r, False, k) for r in by_score)]:
            there = [p[0] for p in places if p is not None]
            if len(there) == k or (not lots and len(there) >= most) or (lots and left == 0):
                continue
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
                why = "boost" if boost[r] > 0 else "bury" if boost[r] < 0 else "model"
                places[places.index(None)] = (r, "explore" if lots else why)
                left -= lots
        if want:
            return spread([p for p in places if p is not None], page)
    return [p for p in places if p is not None]


def spread(listed: list[tuple[int, str]], page: int) -> list[tuple[int, str]]:
    """Those drawn at places drawn: a choice of those that pins and own lists leave, but for the first."""
    free = [n for n, (_, why) in enumerate(listed) if why not in ("pin", "list")]
    drawn, rest = ([listed[n] for n in free if (listed[n][1] == "explore") == d] for d in (True, False))
    if not drawn or not rest:
        return listed
    out = list(listed)
    for place, n in enumerate(free):
        to_come = len(free) - place
        lot = place > 0 and mix((page + 2 + to_come) % 2**64) % to_come < len(drawn)
        out[n] = (drawn if lot else rest).pop(0)
    return out


@pytest.mark.parametrize("depth", [1, 4, 20, 200], ids=lambda d: f"depth {d}")
@pytest.mark.parametrize("caps", [(0, 0), (2, 0), (0, 1), (1, 2)], ids=lambda c: f"brand {c[0]} look {c[1]}")
@pytest.mark.parametrize("ruled", [False, True], ids=["plain", "ruled"])
@pytest.mark.parametrize("share", [0, 0.3, 1.0], ids=["model alone", "explore", "explore much"])
def test_lists_from_few_neighbours_are_those_of_looking_at_everything(
    depth: int, caps: tuple[int, int], ruled: bool, share: float
) -> None:
    limits, seen = Limits(5, *caps, look=0.8), set()
    for seed in range(12):
        w = world(seed)
        e = effects_for(w, seed, limits.k) if ruled else None
        x = explore_for(w, seed, share) if share else None
        found = neighbours(w.queries, w.base, depth, 50)
        got = finish(known(found, w.base), w.queries, w.shelf, limits, e, x)
        for i in range(len(w.queries)):
            want = by_hand(w, i, limits, e, x)
            seen |= {why for _, why in want}
            size = int(got.size[i])
            assert [(int(r), REASONS[c]) for r, c in zip(got.rows[i, :size], got.reason[i, :size], strict=True)] == want
            for n, (r, why) in enumerate(want):
                scored = why not in ("pin", "list")
                assert got.score[i, n] == (w.scores[i, r] if scored else 0)
                assert got.visual[i, n] == (w.visuals[i, r] if scored else 0)
        assert got.certain.all()
    assert seen == {"model", *(["explore"] if share else []), *(["pin", "list", "boost", "bury"] if ruled else [])}


def lists_of(w: World, limits: Limits, x: Explore | None, e: Effects | None = None) -> list[list[tuple[int, str]]]:
    got = finish(known(neighbours(w.queries, w.base, 20, 50), w.base), w.queries, w.shelf, limits, e, x)
    return [
        [(int(r), REASONS[c]) for r, c in zip(rows[:n], why[:n], strict=True)]
        for rows, why, n in zip(got.rows, got.reason, got.size, strict=True)
    ]


def alone(w: World, brand: Any) -> World:
    """The same products, each a group of its own and in stock, none of it the pages'."""
    n = len(w.shelf.group)
    base = Base.of(w.base.rows, w.base.scaled, w.base.rows, np.ones(len(w.base), bool))
    shelf = Shelf.of(base, np.arange(n), np.ones(n, bool), brand, w.shelf.price)
    return World(Queries(w.queries.q, np.full(len(w.queries), n)), base, shelf, w.vectors, w.scores, w.visuals)


def test_exploration_is_fair_and_leaves_the_best_where_they_are() -> None:
    """Share of places in expectation; the model's best k - e keep their order, the first its place; each new product
    that may stand there is drawn as often, at any place but the first as often."""
    w, limits = world(3, pages=3000, targets=120, ties=False), Limits(6)
    rng = np.random.default_rng(1)
    w = alone(w, w.shelf.brand)
    new = np.sort(rng.choice(w.base.rows, 12, replace=False))
    words, pages = (rng.integers(0, 2**64, n, dtype=np.uint64) for n in (12, 3000))
    plain, got = lists_of(w, limits, None), lists_of(w, limits, Explore(0.25, new, words, pages))
    times, kept_of, places = dict.fromkeys(new.tolist(), 0), dict.fromkeys(w.base.rows.tolist(), 0), [0] * 6
    for before, after in zip(plain, got, strict=True):
        kept = [r for r, why in after if why == "model"]
        assert kept == [r for r, _ in before][: len(kept)]
        assert (len(after), after[0]) == (6, before[0])
        for n, (r, why) in enumerate(after):
            if why == "explore":
                times[r], places[n] = times[r] + 1, places[n] + 1
            else:
                kept_of[r] += 1
    drawn = sum(times.values())
    assert drawn == pytest.approx(0.25 * 6 * 3000, rel=0.03)
    assert places[0] == 0
    assert all(p == pytest.approx(drawn / 5, rel=0.12) for p in places[1:]), places
    # What the model lists by itself is in no lot there.
    rates = [times[r] / (3000 - kept_of[r]) for r in times]
    assert rates == pytest.approx([np.mean(rates)] * 12, rel=0.15)


def test_a_lot_hangs_on_page_and_product_alone() -> None:
    w, limits = world(5, pages=200), Limits(5)
    x = explore_for(w, 5, 0.3)
    got = lists_of(w, limits, x)
    assert lists_of(w, limits, x) == got
    order = np.random.default_rng(2).permutation(len(x.rows))
    assert lists_of(w, limits, Explore(x.share, x.rows[order], x.words[order], x.pages)) == got
    some = np.arange(0, 200, 3)
    few = World(w.queries.take(some), w.base, w.shelf, w.vectors, w.scores[some], w.visuals[some])
    assert lists_of(few, limits, x.take(some)) == [got[i] for i in some]
    # One new product fewer changes the lists it was drawn into, and no other.
    without = Explore(x.share, x.rows[1:], x.words[1:], x.pages)
    for before, after in zip(got, lists_of(w, limits, without), strict=True):
        assert before == after or (int(x.rows[0]), "explore") in before


@pytest.mark.parametrize(
    ("k", "share", "at_most"), [(1, 1.0, 0), (2, 1.0, 1), (5, 1.0, 4), (5, 0.2, 1), (5, 0.3, 2), (5, 0.01, 1)]
)
def test_the_first_place_is_not_for_lots(k: int, share: float, at_most: int) -> None:
    w = world(7, pages=300)
    counts = [sum(why == "explore" for _, why in a) for a in lists_of(w, Limits(k), explore_for(w, 7, share))]
    assert max(counts) == at_most
    assert np.mean(counts) <= min(share * k, k - 1) + 0.2


def test_many_refusals_come_to_the_same() -> None:
    """Past a number of scans the lots are sorted: all but one of 150 new products are of a brand that is used up."""
    w, limits = world(9, pages=40, targets=300), Limits(4, per_brand=1)
    new = w.base.rows[:150]
    brand = np.full(300, 7, np.int32)
    brand[new[40]] = 8
    w = alone(w, brand)
    rng = np.random.default_rng(0)
    words, pages = (rng.integers(0, 2**64, n, dtype=np.uint64) for n in (150, 40))
    x = Explore(0.5, new, words, pages)
    got = lists_of(w, limits, x)
    assert got == [by_hand(w, i, limits, None, x) for i in range(40)]
    assert all((int(new[40]), "explore") in listed or (int(new[40]), "model") in listed for listed in got)


def test_pages_without_a_vector_are_empty_but_feasible() -> None:
    base = Base.of(np.arange(4), np.zeros((4, 128), np.float32), np.array([0, 0, 1, 2]), np.array([1, 1, 1, 0], bool))
    got = no_lists(np.array([0, 9]), base, 3)
    assert got.size.tolist() == [0, 0]
    assert got.feasible.tolist() == [1, 2]
