"""Evaluation on outfits: fill in the blank (FITB) and compatibility AUC, for any scorer.

A scorer gives one number for two items; an outfit's score is the mean over its pairs, an answer's score the
mean over its pairs with the question's items (Vasileva et al., ECCV 2018, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medal_model.outfits import Judged, Outfits, Question
from medal_model.pairs import pair_index

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Scores [N] of N pairs of items, by row number [N] and [N]; larger is more compatible; symmetric.
Scorer = Callable[[Ints, Ints], Floats]


@dataclass(frozen=True)
class Score:
    """`fitb`: share of questions answered right, ties as 1/k; chance is 1 / answers. `auc`: chance is 0.5."""

    fitb: float
    auc: float
    questions: int
    judged: int


def evaluate(outfits: Outfits, split: str, rows: Mapping[str, int], scorer: Scorer) -> Score:
    """FITB and AUC of a scorer on `valid` or `test`. `rows` gives each item id its row number.

    Raises ValueError where there is nothing to ask, or an item has no row.
    """
    questions, judged = outfits.questions[split], outfits.judged[split]
    return Score(fitb(questions, rows, scorer), auc(judged, rows, scorer), len(questions), len(judged))


def fitb(questions: Sequence[Question], rows: Mapping[str, int], scorer: Scorer) -> float:
    """Share of questions whose right answer scores highest; k answers tied at the top count 1/k."""
    if not questions:
        raise ValueError("no questions to ask")
    left: list[int] = []
    right: list[int] = []
    group: list[int] = []
    answer = 0
    for q in questions:
        for a in q.answers:
            left.extend(_row(rows, i) for i in q.outfit)
            right.extend([_row(rows, a)] * len(q.outfit))
            group.extend([answer] * len(q.outfit))
            answer += 1
    means = _group_means(scorer(np.array(left, np.int64), np.array(right, np.int64)), np.array(group), answer)
    won, at = 0.0, 0
    for q in questions:
        own = means[at : at + len(q.answers)]
        at += len(q.answers)
        best = own == own.max()
        won += float(best[q.right]) / float(best.sum())
    return won / len(questions)


def auc(judged: Sequence[Judged], rows: Mapping[str, int], scorer: Scorer) -> float:
    """Chance that a made outfit scores above a drawn one, ties as a half (Mann-Whitney U)."""
    scores = outfit_scores([j.outfit for j in judged], rows, scorer)
    labels = np.array([j.compatible for j in judged], dtype=bool)
    made, drawn = int(labels.sum()), int((~labels).sum())
    if made == 0 or drawn == 0:
        raise ValueError(f"AUC needs both labels; there are {made} made and {drawn} drawn outfits")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = ((ends - counts + 1 + ends) / 2.0)[inverse]  # average ranks for ties
    return float((ranks[labels].sum() - made * (made + 1) / 2.0) / (made * drawn))


def outfit_scores(outfits: Sequence[Sequence[str]], rows: Mapping[str, int], scorer: Scorer) -> Floats:
    """Mean pair score of each outfit [N]. Raises ValueError for an outfit of fewer than two items."""
    left: list[int] = []
    right: list[int] = []
    group: list[int] = []
    for n, outfit in enumerate(outfits):
        if len(outfit) < 2:
            raise ValueError(f"outfit {n} has {len(outfit)} items: no pair to score")
        own = [_row(rows, i) for i in outfit]
        for i in range(len(own)):
            left.extend([own[i]] * (len(own) - i - 1))
            right.extend(own[i + 1 :])
        group.extend([n] * (len(own) * (len(own) - 1) // 2))
    return _group_means(scorer(np.array(left, np.int64), np.array(right, np.int64)), np.array(group), len(outfits))


def _row(rows: Mapping[str, int], item_id: str) -> int:
    if (row := rows.get(item_id)) is None:
        raise ValueError(f"item '{item_id}' has no vector")
    return row


def _group_means(scores: Floats, group: Ints, groups: int) -> Floats:
    total = np.bincount(group, weights=scores, minlength=groups)
    # Rounded to 1e-9: sums of equal scores in another order must tie.
    return np.round(total / np.bincount(group, minlength=groups), 9)


def masked_scorer(
    vectors: npt.NDArray[np.float32], categories: Sequence[str], order: Sequence[str], weights: npt.NDArray[np.float32]
) -> Scorer:
    """The teacher's score: vectors [N, D], each row's category, the teacher's category order, masks [P, D]."""
    index = pair_index(order)
    number = {c: i for i, c in enumerate(order)}
    table = np.array([[index[a, b] for b in order] for a in order], dtype=np.int64)
    of = np.array([number[c] for c in categories], dtype=np.int64)
    x, w = vectors.astype(np.float64), weights.astype(np.float64)

    def score(left: Ints, right: Ints) -> Floats:
        pair = table[of[left], of[right]]
        return np.asarray(np.einsum("nd,nd,nd->n", w[pair], x[left], x[right]), dtype=np.float64)

    return score


def cosine_scorer(vectors: npt.NDArray[np.float32]) -> Scorer:
    """Cosine of vectors [N, D]: the frozen backbone as a baseline."""
    x = vectors.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)

    def score(left: Ints, right: Ints) -> Floats:
        return np.asarray((x[left] * x[right]).sum(1), dtype=np.float64)

    return score


def histogram_scorer(histograms: npt.NDArray[np.float32]) -> Scorer:
    """Bhattacharyya coefficient of histograms [N, 512], sum(sqrt(h g)): the cosine of their square roots."""
    return cosine_scorer(np.sqrt(np.clip(histograms, 0, None)))


def random_scorer(seed: int = 0) -> Scorer:
    """Chance: one fixed random number for each unordered pair of rows."""

    def score(left: Ints, right: Ints) -> Floats:
        low, high = np.minimum(left, right), np.maximum(left, right)
        keys = low * np.int64(1_000_003) + high
        unique, inverse = np.unique(keys, return_inverse=True)
        return np.random.default_rng(seed).random(len(unique))[inverse]

    return score
