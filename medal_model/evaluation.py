"""Evaluation on outfits: fill in the blank (FITB) and compatibility AUC, for any scorer.

An outfit's score is the mean over its pairs, an answer's score the mean over its pairs with the question's items
(Vasileva et al., ECCV 2018, section 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medal_model.outfits import Judged, Outfits, Question
from medal_model.scorers import (
    Floats,
    Ints,
    Scorer,
    cosine_scorer,
    histogram_scorer,
    masked_scorer,
    random_scorer,
)

__all__ = [
    "Floats", "Ints", "Score", "Scorer", "auc", "cosine_scorer", "evaluate", "fitb", "fitb_values", "histogram_scorer",
    "masked_scorer", "outfit_scores", "random_scorer", "rank_auc",
]  # fmt: skip


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
    return float(fitb_values(questions, rows, scorer).mean())


def fitb_values(questions: Sequence[Question], rows: Mapping[str, int], scorer: Scorer) -> Floats:
    """What each question is worth [Q]: 1 for the right answer alone at the top, 1/k for one of k tied, else 0.

    Raises ValueError for no question, or an item without a row.
    """
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
    values, at = np.zeros(len(questions)), 0
    for n, q in enumerate(questions):
        own = means[at : at + len(q.answers)]
        at += len(q.answers)
        best = own == own.max()
        values[n] = float(best[q.right]) / float(best.sum())
    return values


def auc(judged: Sequence[Judged], rows: Mapping[str, int], scorer: Scorer) -> float:
    """Chance that a made outfit scores above a drawn one, ties as a half (Mann-Whitney U)."""
    scores = outfit_scores([j.outfit for j in judged], rows, scorer)
    labels = np.array([j.compatible for j in judged], dtype=bool)
    return float(rank_auc(scores, labels, np.ones((1, len(scores))))[0])


def rank_auc(scores: Floats, labels: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """AUC [B] of scores [N] with labels [N] under each row of weights [B, N] (a bootstrap draw's counts).

    Raises ValueError where a label is missing.
    """
    made, drawn = int(labels.sum()), int((~labels).sum())
    if made == 0 or drawn == 0:
        raise ValueError(f"AUC needs both labels; there are {made} made and {drawn} drawn outfits")
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each run of equal scores
    above = np.add.reduceat((weights * labels)[:, order], starts, axis=1)
    below = np.add.reduceat((weights * ~labels)[:, order], starts, axis=1)
    won = (above * (np.cumsum(below, axis=1) - 0.5 * below)).sum(1)
    return np.asarray(won / (above.sum(1) * below.sum(1)), dtype=np.float64)


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
    if not np.isfinite(total).all():
        raise FloatingPointError("scores are not finite; lower the learning rates of what gave them")
    # Rounded to 1e-9: sums of equal scores in another order must tie.
    return np.round(total / np.bincount(group, minlength=groups), 9)
