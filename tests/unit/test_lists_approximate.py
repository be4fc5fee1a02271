"""Approximate search: what an index proposes is scored exactly, and when one is used at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lists_world import draw_products, draw_weights, unit

from jobs.complements import approximate
from jobs.complements.engine import Approximate, Choice, Kind, choices, night_pairs, priced
from jobs.complements.gallery import galleries, marked
from jobs.complements.job import masks_of, search_key_of
from jobs.complements.score import INT32_MIN, micro, scaled_base, scaled_queries
from jobs.complements.search import Base, Neighbours, Queries, neighbours
from jobs.complements.tasks import Task, Update, deal
from jobs.settings import ListSettings
from schemas.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
W = draw_weights()("tops", "shoes")
KINDS: tuple[Kind, ...] = ("ivf", "hnsw")
DEPTH = 20


def world(n: int = 4000, groups: int | None = None) -> tuple[Base, Queries]:
    rng = np.random.default_rng(5)
    styles = rng.normal(size=(30, 128))
    y = unit(styles[rng.integers(0, 30, n)] + 0.8 * rng.normal(size=(n, 128)))
    x = unit(styles[rng.integers(0, 30, 60)] + 0.8 * rng.normal(size=(60, 128)))
    group = np.arange(n) if groups is None else rng.integers(0, groups, n)
    base = Base.of(np.arange(n), scaled_base(y), group, np.ones(n, dtype=bool))
    return base, Queries(scaled_queries(W, x), np.arange(60) if groups else np.full(60, -1))


def recall(found: Neighbours, best: Neighbours) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / DEPTH for a, b in zip(found.rows, best.rows, strict=True)]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_index_finds_is_scored_and_ranked_exactly(kind: Kind) -> None:
    base, queries = world()
    found = approximate.neighbours(queries, base, DEPTH, approximate.build(base, kind), kind)
    assert 0.9 < recall(found, neighbours(queries, base, DEPTH, 65536)) <= 1.0
    assert not found.exact.any()
    scores = micro(queries.q @ base.scaled.T.astype(np.float64))
    visual = micro(queries.q[:, :96] @ base.scaled[:, :96].T.astype(np.float64))
    for i, rows in enumerate(found.rows):
        assert found.score[i].tolist() == scores[i, rows].tolist()
        assert found.visual[i].tolist() == visual[i, rows].tolist()
        keys = [(-s, r) for s, r in zip(found.score[i].tolist(), rows.tolist(), strict=True)]
        assert keys == sorted(keys)
        assert INT32_MIN < found.horizon[i] <= found.score[i, -1]


@pytest.mark.parametrize("kind", KINDS)
def test_looking_at_less_misses_more(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a recall that the gate measures would say nothing."""
    monkeypatch.setattr(approximate, "_LINKS", 2)
    base, queries = world()
    index, best = approximate.build(base, kind), neighbours(queries, base, DEPTH, 65536)
    got = [recall(approximate.neighbours(queries, base, DEPTH, index, kind, e), best) for e in (0.02, 1.0)]
    assert got[0] < min(0.9, got[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_give_the_same_lists_whatever_the_threads(kind: Kind) -> None:
    import faiss

    base, queries = world()
    before = faiss.omp_get_max_threads()
    got = []
    try:
        for threads in (1, 4, 4):
            faiss.omp_set_num_threads(threads)
            got.append(approximate.neighbours(queries, base, DEPTH, approximate.build(base, kind), kind, 0.2))
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    for other in got[1:]:
        assert np.array_equal(other.rows, got[0].rows)
        assert np.array_equal(other.horizon, got[0].horizon)


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_that_the_index_cannot_fill_is_searched_exactly(kind: Kind) -> None:
    """The page's own group is most of what is near: proposals are too few, and the list is that of all targets."""
    base, queries = world(groups=3)
    queries = replace(queries, group=np.arange(60) % 3)
    found = approximate.neighbours(queries, base, 60, approximate.build(base, kind), kind)
    best = neighbours(queries, base, 60, 65536)
    assert found.exact.sum() > 10
    assert np.array_equal(found.rows[found.exact], best.rows[found.exact])
    assert np.array_equal(found.horizon[found.exact], best.horizon[found.exact])


def test_cells_that_run_empty_are_told_from_proposals() -> None:
    base, queries = world()
    index = approximate.build(base, "ivf")
    _, rows = approximate._ask(index, "ivf", queries.q.astype(np.float32), 600, 0.01)
    assert (rows < 0).any(), "no cell ran empty: the test shows nothing"
    found = approximate.neighbours(queries, base, 580, index, "ivf", 0.01)
    best = neighbours(queries, base, 580, 65536)
    assert np.array_equal(found.exact, (rows < 0).any(axis=1))
    assert np.array_equal(found.rows[found.exact], best.rows[found.exact])


def test_a_base_that_is_all_proposed_is_searched_exactly() -> None:
    base, queries = world(30)
    found = approximate.neighbours(queries, base, DEPTH, approximate.build(base, "hnsw"), "hnsw")
    assert np.array_equal(found.rows, neighbours(queries, base, DEPTH, 65536).rows)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["exact"]),
        ({"engine": "faiss", "exact_pairs": 0}, ["exact"]),
        ({"engine": "ivf"}, ["ivf"]),
        ({"engine": "hnsw", "beyond": "ivf"}, ["hnsw"]),
        ({"beyond": "ivf"}, ["exact", "ivf"]),
        ({"engine": "faiss", "beyond": "hnsw", "exact_pairs": 5}, ["exact", "hnsw"]),
    ],
)
def test_searches_that_settings_allow(settings: dict[str, Any], names: list[str]) -> None:
    assert [c.name for c in choices(ListSettings(**settings))] == names


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({}, {"engine": "faiss"}, True),
        ({}, {"engine": "faiss", "effort": 2.0, "exact_rows": 9}, True),
        ({}, {"engine": "ivf"}, False),
        ({"engine": "hnsw"}, {"engine": "ivf"}, False),
        ({"engine": "ivf"}, {"engine": "ivf", "effort": 2.0}, False),
        ({"engine": "ivf"}, {"engine": "ivf", "exact_rows": 9}, False),
        ({"engine": "ivf"}, {"beyond": "ivf"}, True),
    ],
)
def test_known_neighbours_hold_for_a_search_as_exact(one: dict[str, Any], other: dict[str, Any], equal: bool) -> None:
    masks = masks_of(TAXONOMY, ("hats",), draw_weights())
    keys = []
    for settings in (one, other):
        lists = ListSettings(**settings)
        keys.append(search_key_of("m", TAXONOMY, lists, masks, choices(lists)[-1]))
    assert (keys[0] == keys[1]) is equal


def task(target: str, rows: int, pages: int, department: int = 0) -> Task:
    return Task("tops", target, 0, department, 0, pages, rows, 1, float(pages * rows))


@pytest.mark.parametrize(
    ("kind", "tasks", "bases"),
    [
        ("ivf", [("bags", 101, 100_000)], {("bags", 0)}),
        ("ivf", [("bags", 100, 100_000)], set()),  # small: exact whatever the engine
        ("ivf", [("bags", 101, 99_999)], set()),  # asked too seldom to pay for the index
        ("ivf", [("bags", 101, 60_000), ("bags", 101, 40_000), ("hats", 101, 40_000)], {("bags", 0)}),
        ("hnsw", [("bags", 101, 100_000), ("hats", 101, 200_000)], {("hats", 0)}),
        (None, [("bags", 10**6, 10**6)], None),
    ],
)
def test_bases_that_get_an_index(kind: Kind | None, tasks: list[tuple[str, int, int]], bases: set[Any] | None) -> None:
    update = Update("tops", (), (), (), True, 1.0)
    got = Choice(kind, 1.0, 100).approximate([update, *(task(*t) for t in tasks)])
    assert (None if got is None else set(got.bases)) == bases


def test_tasks_go_by_target_so_that_few_workers_build_an_index() -> None:
    tasks: list[Any] = [task(t, 90_000, 500) for _ in range(20) for t in ("bags", "hats", "shoes")]
    known = Approximate("ivf", 1.0, frozenset({("bags", 0), ("hats", 0)}))
    made = priced(tasks, known)
    assert sorted(t.target for t in tasks) == [t.target for t in made]  # type: ignore[union-attr]
    assert all((t.cost < 500 * 88_000) == (t.target != "shoes") for t in made)  # type: ignore[union-attr]
    shares = deal(made, 6)
    assert sum(len({t.target for t in s}) for s in shares) <= len(shares) + 2  # type: ignore[union-attr]
    assert priced(tasks, None) == tasks


def test_pairs_of_a_night() -> None:
    """In full: every page with every possible target; else the new pages with all, the others with the new."""
    all_ = galleries(draw_products(300, 4), TAXONOMY)
    in_full = _pairs_by_hand(all_, lambda g, i: True, lambda g, i: False)
    assert night_pairs(all_, TAXONOMY, TAXONOMY.categories) == in_full
    rng = np.random.default_rng(1)
    some = {c: marked(g, f := rng.random(len(g)) < 0.1, f & g.has_vector) for c, g in all_.items()}
    by_hand = _pairs_by_hand(some, lambda g, i: bool(g.fresh[i]), lambda g, i: bool(g.arrived[i]))
    assert 0 < night_pairs(some, TAXONOMY, TAXONOMY.categories) == by_hand


def _pairs_by_hand(all_: Any, fresh: Any, arrived: Any) -> int:
    names, total = list(TAXONOMY.departments), 0
    for source in TAXONOMY.categories:
        for target in TAXONOMY.targets[source]:
            a, b = all_[source], all_[target]
            for i in range(len(a)):
                for j in range(len(b)):
                    may = names[b.department[j]] in TAXONOMY.matrix[names[a.department[i]]] and b.has_vector[j]
                    total += bool(may and (fresh(a, i) or arrived(b, j)))
    return total
