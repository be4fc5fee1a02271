"""FITB and AUC against plain loops, ties included; masks; the loss."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from medal_model.evaluation import auc, cosine_scorer, fitb, histogram_scorer, masked_scorer, outfit_scores
from medal_model.meta_spaces import MetaSpaces, pair_matrix
from medal_model.outfits import Judged, Question
from medal_model.pairs import all_pairs, pair_index

IDS = [f"i{n}" for n in range(12)]
ROWS = {i: n for n, i in enumerate(IDS)}


def _loose_scorer(levels: int) -> np.ndarray:
    """A symmetric table of scores with few values, so that ties happen."""
    table = np.random.default_rng(3).integers(0, levels, (12, 12)).astype(float)
    return table + table.T


@pytest.mark.parametrize("levels", [2, 1000])
def test_fitb_by_plain_loops(levels: int) -> None:
    table, rng = _loose_scorer(levels), np.random.default_rng(4)
    questions = []
    for _ in range(60):
        drawn = [IDS[n] for n in rng.permutation(12)]
        questions.append(Question(tuple(drawn[: int(rng.integers(1, 5))]), tuple(drawn[5:9]), int(rng.integers(4))))
    want = 0.0
    for q in questions:
        means = [sum(table[ROWS[i], ROWS[a]] for i in q.outfit) / len(q.outfit) for a in q.answers]
        tied = [n for n, m in enumerate(means) if math.isclose(m, max(means))]
        want += 1 / len(tied) if q.right in tied else 0
    assert fitb(questions, ROWS, lambda a, b: table[a, b]) == pytest.approx(want / 60)


def test_ties_count_one_in_k() -> None:
    questions = [Question(("i0",), ("i1", "i2", "i3", "i4"), 2)]
    assert fitb(questions, ROWS, lambda a, b: np.zeros(len(a))) == 0.25


@pytest.mark.parametrize("levels", [2, 1000])
def test_auc_by_plain_loops(levels: int) -> None:
    table, rng = _loose_scorer(levels), np.random.default_rng(5)
    judged = [
        Judged(tuple(IDS[n] for n in rng.permutation(12)[: int(rng.integers(2, 6))]), bool(rng.integers(2)))
        for _ in range(50)
    ]

    def mean(outfit: tuple[str, ...]) -> float:
        pairs = list(itertools.combinations(outfit, 2))
        return round(sum(table[ROWS[a], ROWS[b]] for a, b in pairs) / len(pairs), 9)

    made = [mean(j.outfit) for j in judged if j.compatible]
    drawn = [mean(j.outfit) for j in judged if not j.compatible]
    want = sum((m > d) + 0.5 * (m == d) for m in made for d in drawn) / (len(made) * len(drawn))
    assert auc(judged, ROWS, lambda a, b: table[a, b]) == pytest.approx(want)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no questions"):
        fitb([], ROWS, lambda a, b: np.zeros(len(a)))
    with pytest.raises(ValueError, match="both labels"):
        auc([Judged(("i0", "i1"), True)], ROWS, lambda a, b: np.zeros(len(a)))
    with pytest.raises(ValueError, match="no pair"):
        outfit_scores([("i0",)], ROWS, lambda a, b: np.zeros(len(a)))
    with pytest.raises(ValueError, match="'x' has no vector"):
        outfit_scores([("i0", "x")], ROWS, lambda a, b: np.zeros(len(a)))


def test_scores_that_are_not_finite_are_no_figure() -> None:
    questions = [Question(("i0",), ("i1", "i2"), 0)]
    for value in (math.nan, math.inf):
        with pytest.raises(FloatingPointError, match="not finite"):
            fitb(questions, ROWS, lambda a, b, value=value: np.where(b == 1, value, 0.5))
    with pytest.raises(FloatingPointError, match="not finite"):
        outfit_scores([("i0", "i1"), ("i0", "i2")], ROWS, lambda a, b: np.where(b == 2, math.nan, 0.5))


CATEGORIES = ("tops", "shoes", "bags")


def test_pairs_are_unordered_and_hold_the_same_category() -> None:
    assert all_pairs(CATEGORIES) == (
        ("tops", "tops"), ("tops", "shoes"), ("tops", "bags"), ("shoes", "shoes"), ("shoes", "bags"), ("bags", "bags"),
    )  # fmt: skip
    index = pair_index(CATEGORIES)
    assert all(index[a, b] == index[b, a] for a in CATEGORIES for b in CATEGORIES)
    assert sorted(set(index.values())) == list(range(6))
    with pytest.raises(ValueError, match="twice"):
        pair_index(("a", "a"))


def test_mask_weights_and_scores_by_plain_loops() -> None:
    masks = MetaSpaces(6, 5)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        masks.logits.copy_(torch.from_numpy(rng.normal(size=(6, 5)).astype(np.float32)))
    w = masks.weights().detach().numpy()
    for p in range(6):
        soft = [math.log1p(math.exp(a)) for a in masks.logits[p].tolist()]
        assert w[p] == pytest.approx([s / (sum(soft) / 5) for s in soft], rel=1e-5)
    x = rng.normal(size=(4, 5)).astype(np.float32)
    kinds = ["tops", "bags", "shoes", "bags"]
    score = masked_scorer(x, kinds, CATEGORIES, w)
    matrix = pair_matrix(CATEGORIES)
    for i, j in itertools.product(range(4), repeat=2):
        p = pair_index(CATEGORIES)[kinds[i], kinds[j]]
        want = sum(float(w[p, d]) * float(x[i, d]) * float(x[j, d]) for d in range(5))
        assert score(np.array([i]), np.array([j]))[0] == pytest.approx(want, abs=1e-6)
        torch_score = masks(torch.from_numpy(x[i]), torch.from_numpy(x[j]), torch.tensor(p))
        assert float(torch_score.detach()) == pytest.approx(want, abs=1e-5)
        assert int(matrix[CATEGORIES.index(kinds[i]), CATEGORIES.index(kinds[j])]) == p


def test_new_masks_are_the_plain_inner_product() -> None:
    assert torch.allclose(MetaSpaces(3, 7).weights(), torch.ones(3, 7))


def test_baseline_scorers() -> None:
    x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]], np.float32)
    left, right = np.array([0, 0, 2]), np.array([1, 2, 2])
    assert cosine_scorer(x)(left, right) == pytest.approx([0, math.sqrt(0.5), 1])
    h = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], np.float32)
    assert histogram_scorer(h)(left, right) == pytest.approx([0, math.sqrt(0.5), 1])
