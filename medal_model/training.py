"""The trainer. One loop for cached features of a frozen backbone and for the whole network with self-supervision.

    for each epoch:  for each batch of triplets:
        gradients of the triplet and text terms            (metric view, with colour)
        gradients of the self-supervised term, view by view (without colour; whole network only)
        average over processes, clip, AdamW step, teacher follows
    measure the teacher on valid, keep the best, save a checkpoint

Everything random is drawn from (seed, epoch or step, process), so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from medal_model import checkpoints, distributed
from medal_model.config import TrainConfig
from medal_model.crops import TILES
from medal_model.curriculum import teacher_momentum, teacher_temperature, views_at, warmed_cosine
from medal_model.evaluation import evaluate, masked_scorer
from medal_model.gallery import Arrays, Gallery
from medal_model.heads import DinoHead
from medal_model.inputs import Network, Texts, make_inputs
from medal_model.losses import Centre
from medal_model.monitors import Means, Readings, alarms, effective_rank, mask_entropy
from medal_model.network import HeadShape
from medal_model.optimiser import clip_parts, make_optimiser, parts_of, set_rate
from medal_model.outfits import Outfits
from medal_model.sampling import Triplets, TripletSampler
from medal_model.settings_file import ConfigError
from medal_model.steps import SelfTerm, latents, metric_term, self_term
from medal_model.student import MedalModel, follow, make_teacher
from medal_model.workers import on_threads

_PROBE = 512  # rows the effective rank is measured on
_SEEN_AT_ONCE = 64  # images a forward pass when measuring


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; `fitb` and `auc` are the teacher's on valid."""

    number: int
    loss: float
    fitb: float
    auc: float
    seconds: float
    images: int
    readings: Readings
    alarms: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """What the best teacher is chosen by: FITB has few distinct values, so AUC weighs as much."""
        return self.fitb + self.auc


@dataclass(frozen=True)
class Trained:
    """The teacher of the best epoch, the student beside it, and the history of all epochs."""

    model: MedalModel
    student: MedalModel
    best: Epoch
    history: tuple[Epoch, ...]
    triplets: int
    without_negative: int


def train(
    outfits: Outfits,
    gallery: Gallery,
    categories: Sequence[str],
    config: TrainConfig,
    progress: Callable[[Epoch], None] = lambda epoch: None,
    *,
    network: Network | None = None,
    texts: Texts | None = None,
    folder: Path | None = None,
    step_done: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
) -> Trained:
    """Train for `categories` on the train outfits; choose the epoch on valid.

    Without `network`, heads and masks on the gallery's features; with it, the backbone as well. With `folder`,
    every epoch ends in a checkpoint there, and a run that finds one of the same configuration and data goes on from
    it. Same inputs and seed on one kind of machine: same weights.
    Raises ValueError for no possible triplet, an item without a row or no validation questions, CheckpointError for
    a checkpoint of another run, ConfigError for settings that cannot be run, FloatingPointError where the loss stops
    being finite.
    """
    trainer = Trainer(outfits, gallery, categories, config, network=network, texts=texts, folder=folder)
    return trainer.run(progress, step_done)


class Trainer:
    """State of a run: student, teacher, optimiser, centre, where it is. `run` is the loop."""

    def __init__(
        self,
        outfits: Outfits,
        gallery: Gallery,
        categories: Sequence[str],
        config: TrainConfig,
        *,
        network: Network | None = None,
        texts: Texts | None = None,
        folder: Path | None = None,
    ) -> None:
        check_views(config)
        self.outfits, self.gallery, self.config, self.folder = outfits, gallery, config, folder
        self.rows = gallery.rows
        self.sampler = TripletSampler(outfits.sets["train"], outfits.items, self.rows)
        self.device = pick_device(config.device)
        torch.manual_seed(config.seed)
        rho = config.rho if config.colour else 1.0
        shape = HeadShape(gallery.features.shape[1], gallery.histograms.shape[1], rho=rho, hidden=config.hidden)
        ssl = network is not None and config.ssl_weight > 0
        dino = DinoHead(shape.feature_dim, config.outputs, config.head_hidden, config.head_bottleneck) if ssl else None
        backbone = copy.deepcopy(network.backbone).requires_grad_(True) if network is not None else None
        student = MedalModel(shape, categories, backbone, dino, keep_norm=config.pretrained)
        used = sorted({self.rows[i] for outfit in outfits.sets["train"] for i in outfit})
        student.heads.fit_statistics(torch.from_numpy(gallery.features[used]))
        student.masks.requires_grad_(config.masks)
        student.heads.colour.requires_grad_(config.colour)
        self.student = student.to(self.device)
        self.teacher = make_teacher(self.student)
        self.projection: nn.Linear | None = None
        if texts is not None and config.text_weight > 0:
            self.projection = nn.Linear(texts.vectors.shape[1], shape.visual_dim).to(self.device)
        self.inputs = make_inputs(gallery, categories, network, texts if self.projection else None, self.device)
        self.seen = torch.from_numpy(network.seen) if ssl and network is not None else None
        self.parts = parts_of(self.student, self.projection)
        self.optimiser = make_optimiser(self.student, self.projection, config)
        self.centre = Centre(config.outputs, config.centre_momentum, self.device)
        steps = math.ceil(len(self.sampler) / config.batch_size)
        self.steps = min(steps, config.epoch_steps) if config.epoch_steps else steps
        self.step, self.history = 0, list[Epoch]()
        self.best: Epoch | None = None
        self.best_state: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] | None = None

    @cached_property
    def identity(self) -> str:
        """`checkpoints.identity`, by which a run finds its checkpoint again."""
        return checkpoints.identity(self)

    @property
    def progress(self) -> float:
        """Share of the run that is done, [0, 1]."""
        return self.step / (self.steps * self.config.epochs)

    def run(
        self,
        progress: Callable[[Epoch], None] = lambda epoch: None,
        step_done: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
    ) -> Trained:
        """Train to the end, from the checkpoint where there is one.

        Heads alone are trained on one thread, whatever torch is set to: they are small, waiting for a second, busy
        core made it 6 times slower, and sums then have one order.
        """
        with on_threads(1 if self.inputs.features is not None else None):
            return self._run(progress, step_done)

    def _run(self, progress: Callable[[Epoch], None], step_done: Callable[[int, int, int], None]) -> Trained:
        if self.folder is not None:
            checkpoints.restore(self, self.folder)
        while len(self.history) < self.config.epochs and not self._out_of_patience():
            done = self._epoch(len(self.history) + 1, step_done)
            self.history.append(done)
            if self.best is None or done.score > self.best.score:
                self.best = done
                self.best_state = (_copied(self.teacher), _copied(self.student))
            if self.folder is not None and distributed.rank() == 0:
                checkpoints.save(self, self.folder)
            progress(done)
        assert self.best is not None  # epochs >= 1
        assert self.best_state is not None
        self.teacher.load_state_dict(self.best_state[0])
        self.student.load_state_dict(self.best_state[1])
        self.student.eval()
        return Trained(
            self.teacher, self.student, self.best, tuple(self.history), len(self.sampler), self.sampler.without_negative
        )

    def _out_of_patience(self) -> bool:
        return self.best is not None and len(self.history) - self.best.number >= self.config.patience

    def _epoch(self, number: int, step_done: Callable[[int, int, int], None]) -> Epoch:
        begun, config = time.monotonic(), self.config
        means = Means()
        images = 0
        for n, batch in enumerate(self._batches(number), 1):
            images += self._step(number, batch, means)
            step_done(number, n, self.steps)
        fitb, auc = self._measure()
        readings = means.readings(self._rank(), mask_entropy(self.student.masks.weights()), config.outputs)
        done = Epoch(number, means["loss"], fitb, auc, time.monotonic() - begun, images, readings)
        first = self.history[0].readings if self.history else readings
        return replace(done, alarms=tuple(alarms(readings, first)))

    def _batches(self, epoch: int) -> Iterator[Triplets]:
        """This process' part of every batch of an epoch."""
        drawn = self.sampler.draw(self.config.negatives, np.random.default_rng([self.config.seed, epoch]))
        size, rank, world = self.config.batch_size, distributed.rank(), distributed.world_size()
        for n in range(self.steps):
            end = min((n + 1) * size, len(drawn.anchor))
            # A process without a triplet of its own takes the last one: all must take part in every sum.
            own = slice(min(n * size + rank, end - 1), end, world)
            yield Triplets(drawn.anchor[own], drawn.positive[own], drawn.negative[own])

    def _step(self, epoch: int, batch: Triplets, means: Means) -> int:
        config = self.config
        rng = torch.Generator().manual_seed(_mixed(config.seed, self.step, distributed.rank()))
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=rng)))  # dropout
        set_rate(self.optimiser, warmed_cosine(self.step, config.warmup, self.steps * config.epochs, 0.1))
        self.student.train()
        self.optimiser.zero_grad(set_to_none=True)
        images = 0
        autocast = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._half)
        with autocast:
            metric = metric_term(self.student, self.projection, self.inputs, batch, config, rng)
        metric.loss.backward()  # type: ignore[no-untyped-call]
        means.add(loss=float(metric.loss.detach()), triplet=metric.triplet, text=metric.text)
        means.add(active=metric.active, colour=metric.colour_share)
        images += metric.images
        if self.seen is not None:
            rows = self._ssl_rows()
            term = self._self_supervise(rows, rng)
            means.add(ssl=term.loss, entropy=term.entropy, spread=term.spread)
            images += len(rows)
            if epoch <= config.freeze_last and self.student.dino is not None:
                self.student.dino.prototypes.grad = None
        distributed.average_gradients(p for own in self.parts.values() for p in own)
        norms = clip_parts(self.parts, config.clip)
        means.add(**{f"gradient {part}": norm for part, norm in norms.items()})
        if not all(math.isfinite(x) for x in norms.values()):
            raise FloatingPointError(
                f"epoch {epoch}, step {self.step}: a gradient is not finite ({norms}); lower the learning rates"
            )
        self.optimiser.step()
        if self.student.backbone is not None and not config.pretrained:
            distributed.average_buffers(self.student.backbone)
        self.step += 1
        momentum = teacher_momentum(self.progress, config.ema) if config.ema_to_one else config.ema
        # Early on the teacher follows faster, or it would remember its random start.
        follow(self.teacher, self.student, min(momentum, (1 + self.step) / (10 + self.step)))
        return images

    def _self_supervise(self, rows: torch.Tensor, rng: torch.Generator) -> SelfTerm:
        config = self.config
        views = views_at(self.progress, config.local_crops, config.local_weight_end, config.shape_suppression)
        heat = teacher_temperature(
            self.progress, config.teacher_temperature_start, config.teacher_temperature, config.teacher_warmup
        )
        return self_term(self.student, self.teacher, self.centre, self.inputs, rows, views, heat, config, rng)

    def _ssl_rows(self) -> torch.Tensor:
        """Images of this step: the seen ones in a new random order each time around."""
        assert self.seen is not None
        size, many = self.config.ssl_batch, len(self.seen)
        place = np.arange(self.step * size, (self.step + 1) * size)
        laps = {int(lap): self._lap(int(lap), many) for lap in np.unique(place // many)}
        chosen = np.array([laps[int(p // many)][p % many] for p in place], np.int64)
        return self.seen[torch.from_numpy(chosen[distributed.rank() :: distributed.world_size()].copy())]

    def _lap(self, lap: int, many: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.random.default_rng([self.config.seed, 1_000_003, lap]).permutation(many)

    @property
    def _half(self) -> bool:
        return self.config.bf16 and self.device.type == "cuda"

    def _measure(self) -> tuple[float, float]:
        asked = {i for q in self.outfits.questions["valid"] for i in (*q.outfit, *q.answers)}
        asked |= {i for j in self.outfits.judged["valid"] for i in j.outfit}
        z = np.zeros((len(self.gallery.ids), self.teacher.heads.shape.dim), np.float32)
        rows = np.array(sorted(self.rows[i] for i in asked if i in self.rows), np.int64)
        z[rows] = self.embed(rows)
        weights = np.asarray(self.teacher.masks.weights().detach().cpu().numpy(), dtype=np.float32)
        scorer = masked_scorer(z, self.gallery.categories, self.teacher.categories, weights)
        score = evaluate(self.outfits, "valid", self.rows, scorer)
        return score.fitb, score.auc

    def _rank(self) -> float:
        probe = np.linspace(0, len(self.gallery.ids) - 1, min(_PROBE, len(self.gallery.ids))).astype(np.int64)
        split = self.teacher.heads.shape.visual_dim
        return effective_rank(torch.from_numpy(self.embed(np.unique(probe))[:, :split]))

    @torch.inference_mode()
    def embed(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Arrays:
        """The teacher's latents float32 [len(rows), D]."""
        size = len(rows) if self.inputs.features is not None else _SEEN_AT_ONCE
        parts = [
            latents(self.teacher, self.inputs, torch.from_numpy(rows[i : i + size]), 0.0, None).float().cpu().numpy()
            for i in range(0, len(rows), max(1, size))
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.teacher.heads.shape.dim), np.float32)


def embed_gallery(model: MedalModel, gallery: Gallery) -> Arrays:
    """Latents float32 [N, 128] of all rows, of a model on the gallery's features."""
    model.eval()
    with torch.inference_mode():
        device = next(model.heads.parameters()).device
        x, h = (torch.from_numpy(a).to(device) for a in (gallery.features, gallery.histograms))
        return np.asarray(model.heads(x, h).cpu().numpy(), dtype=np.float32)


def check_views(config: TrainConfig) -> None:
    """Raises ConfigError where a global view cannot be cut into the tiles that shape suppression shuffles."""
    suppressed = not config.frozen and config.ssl_weight > 0 and config.shape_suppression > 0
    if suppressed and config.input_size % TILES:
        raise ConfigError(
            f"input_size {config.input_size} must be a multiple of {TILES} where shape_suppression is above 0"
        )


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises ConfigError where cuda is asked for and there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda is asked for and torch sees no GPU; set device: auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def _mixed(*parts: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 2)
