"""How fast the trainer is, against the bare networks it trains, and what an epoch costs by number of items.

An *image* is one view that goes through one network: the photos of the metric view through the student, the two global
views through the teacher, the global and local ones through the student. On cached features it is a row through the
heads. Both sides of the ratio do the same ones, in the same calls, on the same number of threads:

    trainer   what `Trainer` does in a step: triplets drawn, photos loaded, cropped, their colour taken away,
              normalised, all losses, gradients, clipping, AdamW, the teacher's average, the monitors
    bare      forward and backward of copies of the same networks, on tensors that are already in memory, cropped and
              normalised, from gradients that are given; no loss, no optimiser, no average

    ratio = images/s of the trainer / images/s bare, 1 at best

Evaluation and checkpoints between epochs are left out on both sides. The two take turns and medians are compared,
since other work on the machine slows both.
"""

from __future__ import annotations

import copy
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from medal_model.curriculum import views_at
from medal_model.monitors import Means
from medal_model.sampling import Triplets
from medal_model.training import Trainer
from medal_model.workers import on_threads

_GRADIENT = 1e-3  # size of the gradients that bare backward starts from; nothing depends on it


@dataclass(frozen=True)
class Ratio:
    """Medians over rounds that took turns. Rates are images/s of wall time.

    `ratio` is `trainer` / `bare`; `cpu_ratio` the same of processor time, which other work on the machine disturbs
    less.
    """

    trainer: float
    bare: float
    cpu_ratio: float
    rounds: int
    steps: int  # each round, of each side
    images: float  # a step, mean
    threads: int

    @property
    def ratio(self) -> float:
        return self.trainer / self.bare


@dataclass(frozen=True)
class Cost:
    """What one training epoch of a set takes, without evaluation. `seconds` is `step_seconds` * `steps`."""

    items: int
    outfits: int
    triplets: int
    steps: int
    step_seconds: float

    @property
    def seconds(self) -> float:
        return self.step_seconds * self.steps


def against_bare(trainer: Trainer, rounds: int, steps: int, threads: int | None = None) -> Ratio:
    """Measure a trainer against the bare networks: `rounds` turns of `steps` steps each, after one of both to warm up.

    Heads on cached features run on one thread, as `Trainer.run` does; else on `threads` (none: torch's own). The
    trainer's weights change. Raises ValueError for fewer than one round or step.
    """
    if rounds < 1 or steps < 1:
        raise ValueError(f"needs at least one round and one step, got {rounds} and {steps}")
    with on_threads(1 if trainer.inputs.features is not None else threads) as used:
        batches = _endless(trainer)
        bare = _Bare(trainer)
        walls: dict[str, list[float]] = {"trainer": [], "bare": []}
        cpus: dict[str, list[float]] = {"trainer": [], "bare": []}
        seen = 0
        for turn in range(rounds + 1):
            drawn: list[tuple[int, Triplets]] = []
            draw = _timed(lambda: drawn.extend(itertools.islice(batches, steps)), trainer.device)  # noqa: B023
            images = [bare.prepare(batch) for _, batch in drawn]
            spent = {"bare": _timed(functools.partial(bare.run, steps), trainer.device)}
            own = _timed(lambda: [trainer._step(*each, Means()) for each in drawn], trainer.device)  # noqa: B023
            spent["trainer"] = (draw[0] + own[0], draw[1] + own[1])
            for side, (wall, cpu) in spent.items():
                if turn:
                    walls[side].append(wall / sum(images))
                    cpus[side].append(cpu / sum(images))
            bare.forget()
            seen += sum(images) if turn else 0
    wall_of = {side: statistics.median(times) for side, times in walls.items()}
    cpu_of = {side: statistics.median(times) for side, times in cpus.items()}
    return Ratio(
        trainer=1 / wall_of["trainer"], bare=1 / wall_of["bare"], cpu_ratio=cpu_of["bare"] / cpu_of["trainer"],
        rounds=rounds, steps=steps, images=seen / (rounds * steps), threads=used,
    )  # fmt: skip


def epoch_cost(trainer: Trainer, items: int, most_steps: int = 0, threads: int | None = None) -> Cost:
    """Cost of an epoch of this trainer's set: a whole epoch, or its first `most_steps` steps taken as like the rest.

    The draw of the epoch's triplets is part of it. A step to warm up is not counted. The trainer's weights change.
    """
    config = trainer.config
    with on_threads(1 if trainer.inputs.features is not None else threads):
        batches = list(trainer._batches(1))
        trainer._step(1, batches[0], Means())
        chosen = batches[:most_steps] if most_steps else batches
        drawing = functools.partial(trainer.sampler.draw, config.negatives, np.random.default_rng([config.seed, 1]))
        draw, _ = _timed(drawing, trainer.device)
        own, _ = _timed(lambda: [trainer._step(1, batch, Means()) for batch in chosen], trainer.device)
    step = own / len(chosen) + draw / trainer.steps
    return Cost(items, len(trainer.outfits.sets["train"]), len(trainer.sampler), trainer.steps, step)


def exponent(costs: Sequence[Cost]) -> float:
    """k of seconds = c * items^k, by least squares of logarithms. Raises ValueError for fewer than two sizes."""
    if len({c.items for c in costs}) < 2:
        raise ValueError("an exponent needs at least two sizes")
    x = np.log([c.items for c in costs])
    y = np.log([c.seconds for c in costs])
    return float(np.polyfit(x, y, 1)[0])


class _Bare:
    """Copies of a trainer's networks and, step by step, the tensors they are to see."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, config = trainer, trainer.config
        self.student, self.teacher = copy.deepcopy(trainer.student), copy.deepcopy(trainer.teacher)
        self.held: list[_Held] = []
        self.globals: list[torch.Tensor] = []
        self.locals: list[torch.Tensor] = []
        if trainer.seen is not None:
            self.globals = [self._view(config.ssl_batch, config.input_size) for _ in range(2)]
            self.locals = [self._view(config.ssl_batch, config.local_size) for _ in range(config.local_crops)]
        self.outputs = _GRADIENT * torch.randn(config.ssl_batch, config.outputs, device=trainer.device)

    def prepare(self, batch: Triplets) -> int:
        """Keep what a step on `batch` needs in memory; gives its number of images."""
        trainer, inputs = self.trainer, self.trainer.inputs
        unique, at = np.unique(
            np.concatenate([batch.anchor, batch.positive, batch.negative.ravel()]), return_inverse=True
        )
        rows, where = torch.from_numpy(unique), torch.from_numpy(at).to(trainer.device)
        n, k = batch.negative.shape
        kind = inputs.kinds[rows.to(trainer.device)]
        a, p, q = where[:n], where[n : 2 * n], where[2 * n :].reshape(n, k)
        pixels = None
        with torch.no_grad():
            if inputs.features is None:
                pixels = inputs.normalise(inputs.load(rows))
                x = torch.zeros(0)
                h = inputs.histograms[rows.to(trainer.device)].sqrt()
            else:
                there = rows.to(trainer.device)
                x, h = self.student.heads.inputs(inputs.features[there], inputs.histograms[there])
        spread = _GRADIENT * torch.randn(n, k + 1, device=trainer.device)
        pairs = inputs.pairs[kind[a][:, None], torch.cat((kind[p][:, None], kind[q]), 1)]
        other = torch.cat((p[:, None], q), 1)
        local = self._local(len(self.held))
        self.held.append(_Held(pixels, x, h, a, other, pairs, spread, local))
        if trainer.seen is None:
            return len(rows)
        return len(rows) + trainer.config.ssl_batch * (2 + 2 + local)

    def run(self, many: int) -> None:
        """The first `many` steps prepared."""
        for n in range(many):
            self.step(n)

    def step(self, n: int) -> None:
        """Forward and backward of the n-th step prepared."""
        held = self.held[n]
        self.student.train()
        self.student.zero_grad(set_to_none=True)
        x = held.x
        if held.pixels is not None:
            x = (self.student.see(held.pixels) - self.student.heads.feature_mean) * self.student.heads.feature_scale
        z = self.student.heads.project(x, held.h, drop=self.trainer.config.drop)
        query = self.student.masks.weights()[held.pairs] * z[held.anchor][:, None]
        (query * z[held.other]).sum(-1).backward(held.spread)  # type: ignore[no-untyped-call]
        if not self.globals:
            return
        with torch.no_grad():
            for view in self.globals:
                self.teacher.prototype_logits(view)
        for view in (*self.globals, *self.locals[: held.local]):
            self.student.prototype_logits(view).backward(self.outputs)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Drop what was prepared."""
        self.held.clear()

    def _local(self, ahead: int) -> int:
        trainer, config = self.trainer, self.trainer.config
        done = (trainer.step + ahead) / (trainer.steps * config.epochs)
        return views_at(done, config.local_crops, config.local_weight_end, config.shape_suppression).local_crops

    def _view(self, many: int, size: int) -> torch.Tensor:
        x = torch.randn(many, 3, size, size, device=self.trainer.device)
        return x.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class _Held:
    """Of one step: pixels (or x), root histograms, and where its scores' anchors, others and masks are."""

    pixels: torch.Tensor | None
    x: torch.Tensor
    h: torch.Tensor
    anchor: torch.Tensor
    other: torch.Tensor
    pairs: torch.Tensor
    spread: torch.Tensor
    local: int


def _endless(trainer: Trainer) -> Iterator[tuple[int, Triplets]]:
    """Batches of one epoch after another, from the second on: in the first, prototypes may stand still."""
    epoch = 1 + trainer.config.freeze_last
    while True:
        for batch in trainer._batches(epoch):
            yield epoch, batch
        epoch += 1


def _timed(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Wall and processor seconds of `work`."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    _wait(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
