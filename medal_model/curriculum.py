"""The local-global curriculum: what the views look like as training goes on. Plain functions of progress in [0, 1].

Early on many small local crops and shape-less global views make the student look at fabric, pattern and detail;
later the views grow towards the whole garment. Also the schedules of DINO (Caron et al., 2021, section 3.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def linear(start: float, end: float, progress: float) -> float:
    """From start to end."""
    return start + (end - start) * min(1.0, max(0.0, progress))


def cosine(start: float, end: float, progress: float) -> float:
    """From start to end, flat at both ends."""
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * min(1.0, max(0.0, progress))))


def warmed_cosine(step: int, warmup: int, total: int, floor: float) -> float:
    """Multiplier of a learning rate: linear to 1 over `warmup` steps, then cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    return cosine(1.0, floor, (step - warmup) / max(1, total - warmup))


def teacher_momentum(progress: float, start: float) -> float:
    """EMA momentum: cosine from `start` to 1."""
    return cosine(start, 1.0, progress)


def teacher_temperature(progress: float, start: float, end: float, warmup: float) -> float:
    """Linear from start to end over the first `warmup` share of training: a sharp start is unstable."""
    return end if warmup <= 0 else linear(start, end, progress / warmup)


@dataclass(frozen=True)
class Views:
    """The views of one step."""

    local_crops: int
    local_scale: tuple[float, float]  # share of the garment's area
    local_weight: float  # of a local view's loss against a global view's
    shape_suppression: float  # probability that a student's global view is cut into shuffled tiles


def views_at(progress: float, most_local: int, final_weight: float, shape_suppression: float) -> Views:
    """The curriculum at `progress`: fewer, larger, lighter local crops; shape comes back over the first half."""
    return Views(
        local_crops=max(1, round(linear(most_local, most_local / 2, progress))) if most_local else 0,
        local_scale=(linear(0.05, 0.15, progress), linear(0.25, 0.45, progress)),
        local_weight=linear(1.0, final_weight, progress),
        shape_suppression=linear(shape_suppression, 0.0, 2 * progress),
    )
