"""Bootstrap 95 % intervals of evaluation figures, seeded, for one training seed or several.

A figure is a statistic of resampled units (questions, judged outfits, retrieval queries): a function from draw
counts [B, N] to values [B]. Rule for several training seeds, which all answer the same units: the estimate is the
mean over seeds; a bootstrap draw is

    mean over seeds of the statistic of one resample of units, the same resample for every seed
    + sqrt(S / (S - 1)) * mean of S deviations drawn with replacement from the seeds' deviations from their mean

so the interval holds the variance of units and of seeds; the factor undoes the bootstrap's bias at small S. With
one seed it holds the units alone, and says so by `seeds = 1`. The interval is the 2.5 to 97.5 percentiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medal_model.evaluation import rank_auc
from medal_model.scorers import Floats, Ints

DRAWS = 2000
_AT_ONCE = 250  # draws a block: 250 x 10,000 counts are 20 MB
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval, number of units and of training seeds."""

    value: float
    low: float
    high: float
    units: int
    seeds: int = 1

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def mean_of(values: Floats) -> Statistic:
    """Mean of values [N], such as FITB's."""

    def statistic(counts: Floats) -> Floats:
        return np.asarray(counts @ values / counts.sum(1))

    return statistic


def macro_mean_of(values: Floats, groups: Ints) -> Statistic:
    """Mean over groups of the mean of values [N] in each group [N]; a group absent from a draw counts in none."""
    member = np.zeros((len(values), int(groups.max()) + 1))
    member[np.arange(len(values)), groups] = 1.0

    def statistic(counts: Floats) -> Floats:
        size, total = counts @ member, (counts * values) @ member
        present = size > 0
        return np.asarray(np.where(present, total / np.where(present, size, 1.0), 0.0).sum(1) / present.sum(1))

    return statistic


def auc_of(scores: Floats, labels: npt.NDArray[np.bool_]) -> Statistic:
    """AUC of scores [N] with labels [N]; resample with `strata=labels`, so that no draw lacks a label."""

    def statistic(counts: Floats) -> Floats:
        return rank_auc(scores, labels, counts)

    return statistic


def difference_of(one: Statistic, other: Statistic) -> Statistic:
    """Paired difference, both on the same resample."""
    return lambda counts: np.asarray(one(counts) - other(counts))


def bootstrap(
    statistics: Sequence[Statistic],
    units: int,
    *,
    strata: npt.NDArray[np.bool_] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Interval:
    """Interval of one figure over training seeds: one statistic a seed, all on the same N units.

    `strata` [N] keeps the number of units with each label. Same arguments, same interval. Raises ValueError for
    no unit or no statistic.
    """
    if units < 1 or not statistics:
        raise ValueError(f"an interval needs units and seeds; there are {units} units, {len(statistics)} seeds")
    rng = np.random.default_rng(seed)
    own = np.array([s(np.ones((1, units)))[0] for s in statistics])
    parts = []
    for begin in range(0, draws, _AT_ONCE):
        counts = _counts(units, min(_AT_ONCE, draws - begin), strata, rng)
        parts.append(np.mean([s(counts) for s in statistics], axis=0))
    drawn = np.concatenate(parts)
    if (n := len(own)) > 1:
        off = own - own.mean()
        drawn = drawn + np.sqrt(n / (n - 1)) * off[rng.integers(n, size=(draws, n))].mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(own.mean()), float(low), float(high), units, n)


def _counts(units: int, draws: int, strata: npt.NDArray[np.bool_] | None, rng: np.random.Generator) -> Floats:
    """How often each unit is drawn, [B, N]."""
    out = np.zeros((draws, units))
    groups = [np.arange(units)] if strata is None else [np.flatnonzero(strata), np.flatnonzero(~strata)]
    for at in groups:
        if len(at):
            out[:, at] = rng.multinomial(len(at), np.full(len(at), 1.0 / len(at)), size=draws)
    return out
