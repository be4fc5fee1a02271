"""`finish()`: what stands in a list, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from lists_world import draw_weights, unit

from jobs.complements.finish import finish, no_lists, refill
from jobs.complements.score import INT32_MIN, order_keys, scaled_base, scaled_queries
from jobs.complements.search import Base, Neighbours, Queries, exact_groups, visual_of


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
    got = finish(found, np.array([50]), base, 3)
    size = len(case.want)
    assert got.rows[0].tolist() == case.want + [-1] * (3 - size)
    assert got.score[0, :size].tolist() == [100 - r for r in case.want]
    assert got.visual[0, :size].tolist() == [(100 - r) // 2 for r in case.want]
    assert (got.size[0], got.feasible[0], got.short[0]) == (size, case.feasible, case.short)


def test_refill_equals_filters_before_selection() -> None:
    """Whatever finish() could use, the short list becomes the one of a search over allowed targets alone."""
    rng = np.random.default_rng(0)
    y = unit(rng.normal(size=(200, 128)))
    group, stock = rng.integers(0, 40, 200), rng.random(200) < 0.3
    base = Base.of(np.arange(200), scaled_base(y), group, stock)
    queries = Queries(
        scaled_queries(draw_weights()("tops", "bags"), unit(rng.normal(size=(3, 128)))), np.array([1, 2, 99])
    )
    nothing = Neighbours(
        np.full((3, 4), -1), np.zeros((3, 4), np.int32), np.zeros((3, 4), np.int32),
        np.full(3, 9, np.int32), np.zeros(3, bool),
    )  # fmt: skip
    got = refill(finish(nothing, queries.group, base, 12), queries, base, 12)
    want = exact_groups(queries, base, 12)
    assert np.array_equal(order_keys(got.score, got.rows), want)
    assert np.array_equal(got.visual, visual_of(queries.q, base, want))
    assert (got.size == 12).all() and got.refilled.all() and not got.short.any()


def test_full_lists_are_not_searched_again() -> None:
    base = Base.of(np.arange(2), np.zeros((2, 128), np.float32), np.arange(2), np.ones(2, bool))
    found = Neighbours(np.array([[0, 1]]), np.array([[5, 4]], np.int32), np.zeros((1, 2), np.int32),
                       np.array([3], np.int32), np.array([False]))  # fmt: skip
    lists = finish(found, np.array([9]), base, 2)
    assert refill(lists, Queries(np.zeros((1, 128)), np.array([9])), base, 2) is lists


def test_pages_without_a_vector_are_empty_but_feasible() -> None:
    base = Base.of(np.arange(4), np.zeros((4, 128), np.float32), np.array([0, 0, 1, 2]), np.array([1, 1, 1, 0], bool))
    got = no_lists(np.array([0, 9]), base, 3)
    assert got.size.tolist() == [0, 0]
    assert got.feasible.tolist() == [1, 2]
