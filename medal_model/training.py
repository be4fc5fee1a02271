"""The frozen-backbone trainer: heads and masks on cached features, triplet loss, EMA teacher.

One readable loop. The student gets the gradient; the teacher is its exponential moving average, is what
validation measures and what is exported (design section 3). Early stop by validation FITB.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medal_model.config import TrainConfig
from medal_model.evaluation import Scorer, evaluate, masked_scorer
from medal_model.gallery import Arrays, Gallery
from medal_model.losses import triplet_loss
from medal_model.meta_spaces import MetaSpaces, all_pairs, pair_matrix
from medal_model.network import Heads, HeadShape
from medal_model.outfits import Outfits
from medal_model.sampling import Triplets, TripletSampler


class MedalModel(nn.Module):
    """Heads and masks together: everything on the triplet's path that is trained."""

    def __init__(self, shape: HeadShape, categories: Sequence[str]) -> None:
        super().__init__()
        self.categories = tuple(categories)
        self.heads = Heads(shape)
        self.masks = MetaSpaces(len(all_pairs(categories)), shape.dim)


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; `fitb` and `auc` are the teacher's on valid."""

    number: int
    loss: float
    fitb: float
    auc: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """The teacher of the best epoch, and the history of all of them."""

    model: MedalModel
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
) -> Trained:
    """Train heads and masks for `categories` on the train outfits; choose the epoch on valid.

    Same inputs and seed on one kind of machine: same weights. Runs on one thread, whatever torch is set to: the
    heads are small, and waiting for a second, busy core made it 6 times slower.
    Raises ValueError for no possible triplet, an item without a row or no validation questions;
    FloatingPointError where the loss stops being finite.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(outfits, gallery, categories, config, progress)
    finally:
        torch.set_num_threads(threads)


def _train(
    outfits: Outfits,
    gallery: Gallery,
    categories: Sequence[str],
    config: TrainConfig,
    progress: Callable[[Epoch], None],
) -> Trained:
    rows = gallery.rows
    sampler = TripletSampler(outfits.sets["train"], outfits.items, rows)
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    shape = HeadShape(gallery.features.shape[1], gallery.histograms.shape[1], rho=config.rho)
    student = MedalModel(shape, categories)
    features, histograms = torch.from_numpy(gallery.features), torch.from_numpy(gallery.histograms)
    used = sorted({rows[i] for outfit in outfits.sets["train"] for i in outfit})
    student.heads.fit_statistics(features[used])
    with torch.no_grad():
        inputs = student.heads.inputs(features, histograms)
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    optimiser = _optimiser(student, config)
    pairs = pair_matrix(student.categories)
    number = {c: n for n, c in enumerate(student.categories)}
    kinds = torch.tensor([number[c] for c in gallery.categories])
    steps = math.ceil(len(sampler) / config.batch_size)
    best, best_state, history, step = None, copy.deepcopy(teacher.state_dict()), list[Epoch](), 0
    for epoch in range(1, config.epochs + 1):
        begun, losses = time.monotonic(), []
        for batch in _batches(sampler.draw(config.negatives, rng), config.batch_size):
            _set_rate(optimiser, _rate(step, config.warmup, steps * config.epochs))
            loss = _loss(student, inputs, kinds, pairs, batch, config)
            if not math.isfinite(value := float(loss.detach())):
                raise FloatingPointError(f"epoch {epoch}: the loss is {value}; lower learning_rate or margin")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            # Early on the teacher follows faster, or it would remember its random start.
            follow(teacher, student, min(config.ema, (1 + step) / (10 + step)))
            losses.append(value)
        score = evaluate(outfits, "valid", rows, teacher_scorer(teacher, gallery))
        done = Epoch(epoch, float(np.mean(losses)), score.fitb, score.auc, time.monotonic() - begun)
        history.append(done)
        progress(done)
        # FITB decides; it has few distinct values, so AUC breaks its ties.
        if best is None or (done.fitb, done.auc) > (best.fitb, best.auc):
            best, best_state = done, copy.deepcopy(teacher.state_dict())
        elif epoch - best.number >= config.patience:
            break
    assert best is not None  # epochs >= 1
    teacher.load_state_dict(best_state)
    return Trained(teacher, best, tuple(history), len(sampler), sampler.without_negative)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, ema: float) -> None:
    """teacher = ema * teacher + (1 - ema) * student, for every parameter, in place; no gradient."""
    for t, s in zip(teacher.parameters(), student.parameters(), strict=True):
        t.lerp_(s, 1.0 - ema)


@torch.inference_mode()
def embed_gallery(model: MedalModel, gallery: Gallery) -> Arrays:
    """Latents float32 [N, 128] of all rows."""
    model.eval()
    z = model.heads(torch.from_numpy(gallery.features), torch.from_numpy(gallery.histograms))
    return np.asarray(z.numpy(), dtype=np.float32)


def teacher_scorer(model: MedalModel, gallery: Gallery) -> Scorer:
    """Masked score over the rows of a gallery."""
    weights = np.asarray(model.masks.weights().detach().numpy(), dtype=np.float32)
    return masked_scorer(embed_gallery(model, gallery), gallery.categories, model.categories, weights)


def _loss(
    model: MedalModel,
    inputs: tuple[torch.Tensor, torch.Tensor],
    kinds: torch.Tensor,
    pairs: torch.Tensor,
    batch: Triplets,
    config: TrainConfig,
) -> torch.Tensor:
    """Triplet loss of one batch; each item is embedded once. Positive and negatives share a product type, and
    may still differ in category where the taxonomy says so: each score takes its own pair's mask."""
    unique, at = np.unique(np.concatenate([x.ravel() for x in _parts(batch)]), return_inverse=True)
    rows = torch.from_numpy(unique)
    model.train()
    z = model.heads.project(inputs[0].index_select(0, rows), inputs[1].index_select(0, rows), drop=config.drop)
    kind = kinds[rows]
    n, k = batch.negative.shape
    where = torch.from_numpy(at)
    a, p, q = where[:n], where[n : 2 * n], where[2 * n :].reshape(n, k)
    weights = model.masks.weights()
    positive = (weights[pairs[kind[a], kind[p]]] * z[a] * z[p]).sum(-1)
    query = weights[pairs[kind[a][:, None], kind[q]]] * z[a][:, None]
    return triplet_loss(positive, (query * z[q]).sum(-1), config.margin)


def _parts(batch: Triplets) -> tuple[npt.NDArray[np.int64], ...]:
    return batch.anchor, batch.positive, batch.negative


def _batches(triplets: Triplets, size: int) -> list[Triplets]:
    return [
        Triplets(triplets.anchor[i : i + size], triplets.positive[i : i + size], triplets.negative[i : i + size])
        for i in range(0, len(triplets.anchor), size)
    ]


def _optimiser(model: MedalModel, config: TrainConfig) -> torch.optim.AdamW:
    groups = [
        {"params": list(model.heads.parameters()), "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": list(model.masks.parameters()), "lr": config.mask_learning_rate, "weight_decay": 0.0},
    ]
    for group in groups:
        group["initial_lr"] = group["lr"]
    return torch.optim.AdamW(groups)


def _rate(step: int, warmup: int, total: int) -> float:
    """Multiplier of the learning rates: linear warm-up, then cosine from 1 to 0.1. Pure in `step`."""
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share))


def _set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * factor
