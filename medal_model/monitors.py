"""What is watched while training, and the alarms that name the likely cause."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Readings:
    """An epoch's means. Self-supervised ones are NaN where that side is off.

    `ssl` is loss / ln K; `entropy` the mean entropy of the teacher's targets and `spread` the entropy of their mean,
    both / ln K; `rank` the effective rank of the teacher's visual parts; `masks` the mean entropy of the masks / ln D,
    1 for w = 1; `gradients` the norm of each part's gradient before clipping.
    """

    triplet: float
    text: float
    active: float
    colour_share: float
    masks: float
    rank: float
    ssl: float = math.nan
    entropy: float = math.nan
    spread: float = math.nan
    gradients: Mapping[str, float] = field(default_factory=dict)


class Means:
    """Running means by name; NaN for a name that was never added."""

    def __init__(self) -> None:
        self._total: dict[str, float] = {}
        self._count: dict[str, int] = {}

    def add(self, **values: float) -> None:
        """One value for each name."""
        for name, value in values.items():
            self._total[name] = self._total.get(name, 0.0) + value
            self._count[name] = self._count.get(name, 0) + 1

    def __getitem__(self, name: str) -> float:
        return self._total[name] / self._count[name] if name in self._count else math.nan

    def readings(self, rank: float, masks: float, outputs: int) -> Readings:
        """The epoch's readings, with what was measured at its end."""
        gradients = {n.removeprefix("gradient "): self[n] for n in self._total if n.startswith("gradient ")}
        return Readings(
            triplet=self["triplet"], text=self["text"], active=self["active"], colour_share=self["colour"],
            masks=masks, rank=rank, ssl=self["ssl"] / math.log(outputs), entropy=self["entropy"],
            spread=self["spread"], gradients=gradients,
        )  # fmt: skip


def effective_rank(vectors: torch.Tensor) -> float:
    """exp of the entropy of the normalised singular values of [N, D], centred: from 1 (a line) to D.

    Source: Roy and Vetterli, EUSIPCO 2007.
    """
    values = torch.linalg.svdvals((vectors - vectors.mean(0)).double())
    if float(values.sum()) <= 1e-12:
        return 1.0
    p = values / values.sum()
    return float(torch.exp(-(p * p.clamp_min(1e-30).log()).sum()))


def mask_entropy(weights: torch.Tensor) -> float:
    """Mean entropy of masks [P, D], each divided by D, over ln D."""
    p = weights.detach().double() / weights.shape[1]
    return float(-(p * p.clamp_min(1e-30).log()).sum(-1).mean() / math.log(weights.shape[1]))


def alarms(now: Readings, first: Readings) -> Sequence[str]:
    """What looks wrong after an epoch, one line each with the likely cause; none for a healthy run."""
    found = []
    if not math.isnan(now.ssl):
        if now.entropy > 0.98:
            found.append(
                f"teacher entropy is {now.entropy:.2f} of ln K: its targets are uniform; teacher_temperature is too "
                "high or centring too strong (lower centre_momentum)"
            )
        if now.spread < 0.10:
            found.append(
                f"the mean target has entropy {now.spread:.2f} of ln K: a few prototypes take everything (collapse); "
                "centring is too weak, or teacher_temperature too low: raise them or use balance: sinkhorn"
            )
        if now.ssl > 1.5:
            found.append(f"self-supervised loss is {now.ssl:.2f} of ln K: it diverges; lower backbone_learning_rate")
    if now.rank < 0.5 * first.rank:
        found.append(
            f"effective rank fell from {first.rank:.1f} to {now.rank:.1f}: the visual part collapses to few "
            "dimensions; lower margin, or raise negatives"
        )
    if now.active < 0.01:
        found.append(f"{now.active:.1%} of triplets are active: nothing is learnt from them; raise margin or negatives")
    if now.masks < 0.6:
        found.append(f"mask entropy is {now.masks:.2f}: masks live on few dimensions; lower mask_learning_rate")
    if now.colour_share > 0.8:
        found.append(f"colour makes {now.colour_share:.0%} of the scores: it outweighs the look; raise rho")
    found += [
        f"gradient norm of {part} is {norm:.2g}: it explodes; lower its rate or set clip"
        for part, norm in now.gradients.items()
        if not norm < 1e3
    ]
    return found
