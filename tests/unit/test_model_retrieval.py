"""Retrieval by plain loops, ties by expectation, pools; dense scores are pair scores; one query for an outfit."""

from __future__ import annotations

import numpy as np
import pytest
from compatibility_world import CATEGORIES, draw_world

from medal_model.evaluation import auc, fitb, outfit_scores
from medal_model.pairs import all_pairs
from medal_model.retrieval import RetrievalTask, ranking, retrieval_task, retrieve
from medal_model.scorers import (
    DistanceScorer,
    MaskedScorer,
    PoolScorer,
    PopularityScorer,
    RandomScorer,
    category_numbers,
    cosine_scorer,
    masked_scorer,
)

OUTFITS, GALLERY = draw_world()
ROWS = GALLERY.rows
N, C, D = len(GALLERY.ids), len(CATEGORIES), 8
RNG = np.random.default_rng(1)
KINDS = category_numbers(GALLERY.categories, CATEGORIES)
VECTORS = RNG.normal(size=(N, D))


def _symmetric() -> np.ndarray:
    w = RNG.random((C, C, D))
    return (w + w.transpose(1, 0, 2)) / 2


SCORERS: dict[str, PoolScorer] = {
    "masked": MaskedScorer(VECTORS, KINDS, _symmetric()),
    "coarse": MaskedScorer(np.round(VECTORS), KINDS, np.ones((C, C, D))),  # many ties
    "distance": DistanceScorer(VECTORS, KINDS, RNG.random((C, C, D)), unit=False),
    "unit distance": DistanceScorer(VECTORS, KINDS, RNG.random((C, C, D)), unit=True),
    "popularity": PopularityScorer(RNG.integers(0, 4, N).astype(float)),
    "random": RandomScorer(3),
    "cosine": cosine_scorer(VECTORS.astype(np.float32)),
}


def _pair(scorer: PoolScorer, i: int, j: int) -> float:
    return float(scorer(np.array([i]), np.array([j]))[0])


@pytest.mark.parametrize("name", SCORERS)
def test_scores_are_symmetric_and_dense_ones_are_means_of_pairs(name: str) -> None:
    scorer = SCORERS[name]
    left, right = RNG.integers(N, size=200), RNG.integers(N, size=200)
    assert scorer(left, right) == pytest.approx(scorer(right, left), abs=1e-12)
    outfits = [RNG.permutation(N)[: int(k)] for k in (1, 2, 5, 3)]
    pool = RNG.permutation(N)[:40]
    want = [[np.mean([_pair(scorer, int(i), int(p)) for i in o]) for p in pool] for o in outfits]
    assert scorer.against(outfits, pool) == pytest.approx(np.array(want), abs=1e-7)


def test_a_whole_outfit_is_one_query() -> None:
    vectors = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float32)
    weights = RNG.random((len(all_pairs(CATEGORIES)), D)).astype(np.float32)
    scorer = masked_scorer(vectors, GALLERY.categories, CATEGORIES, weights)
    for size in (1, 2, 4, 12):
        outfit = RNG.permutation(N)[:size]
        for target in range(C):
            pool = np.flatnonzero(target == KINDS)
            pairs = np.array([np.mean([_pair(scorer, int(i), int(p)) for i in outfit]) for p in pool])
            one = scorer.vectors[pool] @ scorer.queries([outfit], target)[0]
            assert np.abs(one - pairs).max() < 1e-12


def _plain_hits(task: RetrievalTask, scorer: PoolScorer, k: int) -> list[float]:
    hits = []
    for q, (outfit, true) in enumerate(zip(task.outfits, task.answers, strict=True)):
        scores = {
            int(p): round(float(np.mean([_pair(scorer, int(i), int(p)) for i in outfit])), 9)
            for p in task.pools[task.category[q]]
            if p == true or p not in outfit
        }
        better = sum(s > scores[int(true)] for s in scores.values())
        tied = sum(s == scores[int(true)] for s in scores.values())
        # The true item stands at each of the tied places with the same chance.
        hits.append(sum(better + t < k for t in range(tied)) / tied)
    return hits


@pytest.mark.parametrize("pool", ["fine", "type"])
@pytest.mark.parametrize("name", ["masked", "coarse", "popularity", "random"])
def test_retrieval_by_plain_loops(pool: str, name: str) -> None:
    task = retrieval_task(OUTFITS, "test", ROWS, pool, seed=4, limit=30)  # type: ignore[arg-type]
    got = retrieve(task, SCORERS[name], ks=(1, 5, 10))
    for k in (1, 5, 10):
        want = _plain_hits(task, SCORERS[name], k)
        assert got.hits[k] == pytest.approx(want)
        assert got.micro(k) == pytest.approx(sum(want) / len(want))
        own = [[w for w, c in zip(want, task.category, strict=True) if c == n] for n in range(len(task.names))]
        assert got.macro(k) == pytest.approx(np.mean([sum(o) / len(o) for o in own]))


def test_fine_pools_hold_the_answers_then_the_part_then_train() -> None:
    limit = 20
    task = retrieval_task(OUTFITS, "test", ROWS, "fine", limit=limit)
    used = {s: {i for o in OUTFITS.sets[s] for i in o} for s in ("test", "train")}
    for name, pool in zip(task.names, task.pools, strict=True):
        held = {GALLERY.ids[p] for p in pool}
        assert len(held) == len(pool)
        kind = {i for i in GALLERY.ids if OUTFITS.items[i].product_type == name}
        sought = {GALLERY.ids[a] for a in task.answers} & kind
        own, more = used["test"] & kind, used["train"] & kind
        assert sought <= held <= kind & (own | more)
        assert len(held) == min(limit, len(own | more))
        assert own <= held or len(own) > limit
        if held - own:
            assert own <= held


def test_type_pools_hold_the_parts_items_whatever_the_limit() -> None:
    task = retrieval_task(OUTFITS, "test", ROWS, "type", limit=5)
    used = {i for o in OUTFITS.sets["test"] for i in o}
    for name, pool in zip(task.names, task.pools, strict=True):
        assert {GALLERY.ids[p] for p in pool} == {i for i in used if OUTFITS.items[i].category == name}


def test_pools_are_the_same_by_seed_and_differ_without() -> None:
    pools = [retrieval_task(OUTFITS, "test", ROWS, "fine", seed=s, limit=20).pools for s in (1, 1, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(pools[0], pools[1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(pools[0], pools[2], strict=True))


@pytest.mark.parametrize("pool", ["fine", "type"])
def test_constant_embeddings_are_at_chance(pool: str) -> None:
    constant = cosine_scorer(np.ones((N, 4), np.float32))
    assert fitb(OUTFITS.questions["test"], ROWS, constant) == 0.25
    assert auc(OUTFITS.judged["test"], ROWS, constant) == 0.5
    task = retrieval_task(OUTFITS, "test", ROWS, pool)  # type: ignore[arg-type]
    got = retrieve(task, constant)
    for k in (10, 30, 50):
        size = [len(set(task.pools[c].tolist()) - (set(o.tolist()) - {int(a)}))
                for c, o, a in zip(task.category, task.outfits, task.answers, strict=True)]  # fmt: skip
        assert got.micro(k) == pytest.approx(np.mean([min(1, k / s) for s in size]))
        assert got.micro(k) == pytest.approx(got.chance[k].mean())


@pytest.mark.parametrize("name", SCORERS)
def test_permuting_an_outfit_changes_no_score(name: str) -> None:
    outfit = list(OUTFITS.sets["test"][0])
    for _ in range(5):
        turned = [outfit[n] for n in RNG.permutation(len(outfit))]
        assert outfit_scores([turned], ROWS, SCORERS[name])[0] == outfit_scores([outfit], ROWS, SCORERS[name])[0]
        pool = np.arange(N)
        a, b = (SCORERS[name].against([np.array([ROWS[i] for i in o])], pool) for o in (outfit, turned))
        assert np.round(a, 9) == pytest.approx(np.round(b, 9), abs=1.1e-9)


def test_the_outfits_own_items_are_not_recommended() -> None:
    outfit, pool = np.array([3, 5, 60]), np.arange(N)
    rows, scores = ranking(SCORERS["masked"], outfit, pool, N)
    assert set(rows.tolist()) == set(range(N)) - {3, 5, 60}
    assert list(scores) == sorted(scores, reverse=True)
    rows, _ = ranking(PopularityScorer(np.zeros(N)), outfit, pool, 4)
    assert rows.tolist() == [0, 1, 2, 4]  # ties by row


def test_the_right_answer_stays_in_the_pool_even_where_the_question_shows_it() -> None:
    outfit, pool = np.array([3, 5, 60]), np.arange(N)
    rows, _ = ranking(SCORERS["masked"], outfit, pool, N, 5)
    assert set(rows.tolist()) == set(range(N)) - {3, 60}
    rows, _ = ranking(SCORERS["masked"], outfit, pool, N, 7)
    assert set(rows.tolist()) == set(range(N)) - {3, 5, 60}


def test_nothing_to_retrieve_is_an_error() -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="test has no questions"):
        retrieval_task(replace(OUTFITS, questions={"test": ()}), "test", ROWS, "fine")
    with pytest.raises(ValueError, match="has no vector"):
        retrieval_task(OUTFITS, "test", {}, "fine")


def test_random_scores_are_fixed_by_seed_whatever_is_asked_beside() -> None:
    one, other = RandomScorer(0), RandomScorer(1)
    alone = one(np.array([4]), np.array([9]))[0]
    assert one(np.array([9, 1, 2]), np.array([4, 2, 3]))[0] == alone != other(np.array([4]), np.array([9]))[0]
    many = one(np.arange(20_000), np.arange(20_000) + 1)
    assert abs(many.mean() - 0.5) < 0.01
    assert 0 <= many.min() < many.max() < 1
