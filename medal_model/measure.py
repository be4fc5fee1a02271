"""Everything the report says of one scorer on one part, kept a question at a time, and its intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medal_model.evaluation import fitb_values, outfit_scores
from medal_model.intervals import (
    DRAWS,
    Interval,
    Statistic,
    auc_of,
    bootstrap,
    difference_of,
    macro_mean_of,
    mean_of,
)
from medal_model.outfits import Outfits
from medal_model.retrieval import RetrievalTask, Retrieved, retrieve
from medal_model.scorers import Floats, PoolScorer


@dataclass(frozen=True)
class Measured:
    """One scorer on one part: worth of each question [Q], scores and labels of judged outfits [J], retrieval."""

    fitb: Floats
    scores: Floats
    labels: npt.NDArray[np.bool_]
    retrieved: tuple[Retrieved, ...] = ()


@dataclass(frozen=True)
class _Figure:
    statistic: Statistic
    units: int
    strata: npt.NDArray[np.bool_] | None = None


def measure(
    outfits: Outfits, part: str, rows: Mapping[str, int], scorer: PoolScorer, tasks: Sequence[RetrievalTask] = ()
) -> Measured:
    """Ask a scorer everything on `valid` or `test`. Raises ValueError where there is nothing to ask."""
    judged = outfits.judged[part]
    return Measured(
        fitb_values(outfits.questions[part], rows, scorer),
        outfit_scores([j.outfit for j in judged], rows, scorer),
        np.array([j.compatible for j in judged], dtype=bool),
        tuple(retrieve(task, scorer) for task in tasks),
    )


def summarise(seeds: Sequence[Measured], seed: int = 0, draws: int = DRAWS) -> dict[str, Interval]:
    """Interval of every figure over one measurement a training seed, by name: `fitb`, `auc`, and for retrieval
    `<pool>_r<k>_micro` and `<pool>_r<k>_macro`."""
    figures = [_figures(m) for m in seeds]
    return {name: _bootstrap([f[name] for f in figures], seed, draws) for name in figures[0]}


def differences(
    one: Sequence[Measured], other: Sequence[Measured], seed: int = 0, draws: int = DRAWS
) -> dict[str, Interval]:
    """Paired difference `one` - `other` of every figure: both on the same resample of the same questions. The seeds
    of `other` are averaged; those of `one` count as seeds."""
    ones, others = [_figures(m) for m in one], [_figures(m) for m in other]
    out = {}
    for name in ones[0]:
        rest = _mean([f[name].statistic for f in others])
        parts = [_Figure(difference_of(f[name].statistic, rest), f[name].units, f[name].strata) for f in ones]
        out[name] = _bootstrap(parts, seed, draws)
    return out


def chances(measured: Measured) -> dict[str, float]:
    """The same figures under a constant score; FITB's is left to the number of answers."""
    out = {"auc": 0.5}
    for r in measured.retrieved:
        constant = Retrieved(r.task, r.chance, r.chance)
        for k in r.hits:
            out[f"{r.task.pool}_r{k}_micro"], out[f"{r.task.pool}_r{k}_macro"] = constant.micro(k), constant.macro(k)
    return out


def _figures(m: Measured) -> dict[str, _Figure]:
    out = {
        "fitb": _Figure(mean_of(m.fitb), len(m.fitb)),
        "auc": _Figure(auc_of(m.scores, m.labels), len(m.scores), m.labels),
    }
    for r in m.retrieved:
        for k, hits in r.hits.items():
            out[f"{r.task.pool}_r{k}_micro"] = _Figure(mean_of(hits), len(hits))
            out[f"{r.task.pool}_r{k}_macro"] = _Figure(macro_mean_of(hits, r.task.category), len(hits))
    return out


def _mean(statistics: Sequence[Statistic]) -> Statistic:
    return lambda counts: np.asarray(np.mean([s(counts) for s in statistics], axis=0))


def _bootstrap(figures: Sequence[_Figure], seed: int, draws: int) -> Interval:
    first = figures[0]
    return bootstrap([f.statistic for f in figures], first.units, strata=first.strata, seed=seed, draws=draws)
