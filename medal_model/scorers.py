"""Scorers: one number for two items, and whole outfits against a pool of items by matrix products.

A scorer is called with row numbers and gives pair scores; larger is more compatible, and the score is symmetric.
`against` gives the mean pair score of an outfit's items with every pool item: what retrieval ranks by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medal_model.pairs import pair_index

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Scores [N] of N pairs of items, by row number [N] and [N].
Scorer = Callable[[Ints, Ints], Floats]


class PoolScorer(Protocol):
    """A scorer that also scores outfits against a pool without a loop over its items."""

    def __call__(self, left: Ints, right: Ints) -> Floats:
        """Scores [N] of rows `left` [N] with rows `right` [N]."""
        ...

    def against(self, outfits: Sequence[Ints], pool: Ints) -> Floats:
        """Mean pair scores [Q, P] of Q outfits (rows, at least one each) with P pool rows."""
        ...


@dataclass(frozen=True)
class MaskedScorer:
    """s(x, y) = sum_d w_pd x_d y_d: vectors [N, D], each row's category number [N], masks [C, C, D], symmetric.

    A whole outfit is one query, the mean of its items' masked vectors: the score is linear in x.
    """

    vectors: Floats
    kinds: Ints
    masks: Floats

    def __call__(self, left: Ints, right: Ints) -> Floats:
        w = self.masks[self.kinds[left], self.kinds[right]]
        return np.asarray(np.einsum("nd,nd,nd->n", w, self.vectors[left], self.vectors[right]), dtype=np.float64)

    def queries(self, outfits: Sequence[Ints], target: int) -> Floats:
        """One query [Q, D] an outfit for a target category's number: mean of w_p * x over its items."""
        rows = np.concatenate(outfits)
        return _by_outfit(self.masks[self.kinds[rows], target] * self.vectors[rows], outfits)

    def against(self, outfits: Sequence[Ints], pool: Ints) -> Floats:
        out = np.empty((len(outfits), len(pool)))
        for target in np.unique(self.kinds[pool]):
            at = np.flatnonzero(self.kinds[pool] == target)
            out[:, at] = self.queries(outfits, int(target)) @ self.vectors[pool[at]].T
        return out


@dataclass(frozen=True)
class DistanceScorer:
    """s(x, y) = -|e(x, c_y) - e(y, c_x)|, e(x, c) = m[c_x, c] * x, scaled to unit length where `unit`.

    Vectors [N, D], each row's category number [N], masks [C, C, D] by own and other category.
    """

    vectors: Floats
    kinds: Ints
    masks: Floats
    unit: bool

    def __call__(self, left: Ints, right: Ints) -> Floats:
        a, b = self._embed(left, self.kinds[right]), self._embed(right, self.kinds[left])
        return -np.asarray(np.linalg.norm(a - b, axis=1), dtype=np.float64)

    def against(self, outfits: Sequence[Ints], pool: Ints) -> Floats:
        rows = np.concatenate(outfits)
        unique, back = np.unique(rows, return_inverse=True)
        scores = np.empty((len(unique), len(pool)))
        for source in np.unique(self.kinds[unique]):
            for target in np.unique(self.kinds[pool]):
                at, of = np.flatnonzero(self.kinds[unique] == source), np.flatnonzero(self.kinds[pool] == target)
                a = self._embed(unique[at], np.full(len(at), target))
                b = self._embed(pool[of], np.full(len(of), source))
                square = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2.0 * a @ b.T
                scores[np.ix_(at, of)] = -np.sqrt(np.maximum(square, 0.0))
        return _by_outfit(scores[back], outfits)

    def _embed(self, rows: Ints, other: Ints) -> Floats:
        e = self.masks[self.kinds[rows], other] * self.vectors[rows]
        if self.unit:
            e = e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-12)
        return np.asarray(e, dtype=np.float64)


@dataclass(frozen=True)
class PopularityScorer:
    """s(x, y) = mean of the two items' worth [N], whatever they look like."""

    worth: Floats

    def __call__(self, left: Ints, right: Ints) -> Floats:
        return np.asarray((self.worth[left] + self.worth[right]) / 2.0)

    def against(self, outfits: Sequence[Ints], pool: Ints) -> Floats:
        own = _by_outfit(self.worth[np.concatenate(outfits)][:, None], outfits)
        return np.asarray((own + self.worth[pool]) / 2.0)


@dataclass(frozen=True)
class RandomScorer:
    """Chance: one fixed number in [0, 1) for each unordered pair of rows, by seed."""

    seed: int = 0

    def __call__(self, left: Ints, right: Ints) -> Floats:
        low, high = np.minimum(left, right).astype(np.uint64), np.maximum(left, right).astype(np.uint64)
        z = _mix(_mix(_mix(np.full_like(low, self.seed)) ^ low) ^ high)
        return np.asarray((z >> np.uint64(11)).astype(np.float64) * 2.0**-53)

    def against(self, outfits: Sequence[Ints], pool: Ints) -> Floats:
        rows = np.concatenate(outfits)
        return _by_outfit(self(rows[:, None], pool[None, :]), outfits)


def masked_scorer(
    vectors: npt.NDArray[np.float32], categories: Sequence[str], order: Sequence[str], weights: npt.NDArray[np.float32]
) -> MaskedScorer:
    """The teacher's score: vectors [N, D], each row's category, the teacher's category order, masks [P, D]."""
    index = pair_index(order)
    table = np.array([[index[a, b] for b in order] for a in order], dtype=np.int64)
    return MaskedScorer(
        vectors.astype(np.float64), category_numbers(categories, order), weights.astype(np.float64)[table]
    )


def category_numbers(categories: Sequence[str], order: Sequence[str]) -> Ints:
    """Position in `order` of each row's category [N]."""
    number = {c: i for i, c in enumerate(order)}
    return np.array([number[c] for c in categories], dtype=np.int64)


def cosine_scorer(vectors: npt.NDArray[np.float32]) -> PoolScorer:
    """Cosine of vectors [N, D]: the frozen backbone as a baseline."""
    x = vectors.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return MaskedScorer(x, np.zeros(len(x), dtype=np.int64), np.ones((1, 1, x.shape[1])))


def histogram_scorer(histograms: npt.NDArray[np.float32]) -> PoolScorer:
    """Bhattacharyya coefficient of histograms [N, 512], sum(sqrt(h g)): the cosine of their square roots."""
    return cosine_scorer(np.sqrt(np.clip(histograms, 0, None)))


def random_scorer(seed: int = 0) -> PoolScorer:
    """Chance: one fixed random number for each unordered pair of rows."""
    return RandomScorer(seed)


def _by_outfit(values: Floats, outfits: Sequence[Ints]) -> Floats:
    """Means [Q, ...] over each outfit's items of values [sum of sizes, ...]; no outfit may be empty."""
    sizes = np.array([len(o) for o in outfits], dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    return np.asarray(np.add.reduceat(values, starts, axis=0) / sizes[:, None], dtype=np.float64)


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One step of splitmix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection that scatters all bits."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
