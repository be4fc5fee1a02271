"""What one optimiser step computes: the triplet and text terms on the metric view, and the self-supervised term.

The two sides share the backbone alone: no gradient of the self-supervised term reaches heads, masks or text, none
of the triplet term reaches the self-supervised head, and none at all reaches the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from medal_model import distributed
from medal_model.config import TrainConfig
from medal_model.crops import cut, garment, garment_boxes, shuffle_tiles, without_colour
from medal_model.curriculum import Views
from medal_model.inputs import Inputs
from medal_model.losses import (
    Centre,
    across_loss,
    dino_cross_entropy,
    dino_targets,
    sinkhorn_targets,
    text_loss,
    triplet_loss,
)
from medal_model.sampling import Triplets
from medal_model.student import MedalModel


@dataclass(frozen=True)
class MetricTerm:
    """`loss` has a graph; the shares are for the monitors."""

    loss: torch.Tensor
    triplet: float
    text: float
    active: float  # share of triplets above zero
    images: int  # seen by the backbone
    colour_share: float  # colour part of the positives' scores, in absolute value


def metric_term(
    student: MedalModel,
    projection: torch.nn.Module | None,
    inputs: Inputs,
    batch: Triplets,
    config: TrainConfig,
    rng: torch.Generator,
) -> MetricTerm:
    """Triplet loss (and the text term) of one batch; every item is seen once, in its own colours.

    Positive and negatives share a product type and may still differ in category where the taxonomy says so: each
    score takes its own pair's mask.
    """
    parts = (batch.anchor, batch.positive, batch.negative)
    unique, at = np.unique(np.concatenate([x.ravel() for x in parts]), return_inverse=True)
    rows = torch.from_numpy(unique)
    z = latents(student, inputs, rows, config.drop, rng)
    n, k = batch.negative.shape
    where = torch.from_numpy(at).to(z.device)
    a, p, q = where[:n], where[n : 2 * n], where[2 * n :].reshape(n, k)
    kind = inputs.kinds[rows.to(z.device)]
    weights = student.masks.weights()
    parts_of_score = weights[inputs.pairs[kind[a], kind[p]]] * z[a] * z[p]
    query = weights[inputs.pairs[kind[a][:, None], kind[q]]] * z[a][:, None]
    positive, negative = parts_of_score.sum(-1), (query * z[q]).sum(-1)
    loss, active = triplet_loss(positive, negative, config.margin)
    value, told = float(loss.detach()), 0.0
    if config.across > 0:
        loss = torch.lerp(loss, across_loss(positive, negative, config.margin, rng), config.across)
    if projection is not None and inputs.text is not None and inputs.told is not None and config.text_weight > 0:
        known = inputs.told[rows.to(z.device)].nonzero()[:, 0]
        known = known[torch.randperm(len(known), generator=rng)[:_TEXT_ROWS].to(z.device)]
        if len(known) > 1:
            described = F.normalize(projection(inputs.text[rows.to(z.device)[known]]), dim=-1, eps=1e-8)
            visual = F.normalize(z[known, : student.heads.shape.visual_dim], dim=-1, eps=1e-8)
            term, _ = text_loss(visual, described, config.text_margin)
            told = float(term.detach())
            loss = loss + config.text_weight * term
        else:
            distributed.total(0)  # the other processes count their active terms together: all must take part
    with torch.no_grad():
        split = student.heads.shape.visual_dim
        colour, visual_part = parts_of_score[:, split:].sum(-1).abs().mean(), parts_of_score[:, :split].sum(-1)
        share = float(colour / (colour + visual_part.abs().mean()).clamp_min(1e-9))
    return MetricTerm(loss, value, told, active / (n * k), len(rows), share)


_TEXT_ROWS = 512  # described items a step: their scores are a square


def latents(
    model: MedalModel, inputs: Inputs, rows: torch.Tensor, drop: float, rng: torch.Generator | None
) -> torch.Tensor:
    """z [B, D] of rows. With `rng` the view is a training one: mirrored at random, no colour jitter; else plain."""
    there = rows.to(inputs.device)
    if inputs.features is not None:
        features = inputs.features[there]
    else:
        images = inputs.load(rows)
        if rng is not None:
            mirrored = torch.rand(len(rows), generator=rng) < 0.5
            images = torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)
        features = model.see(inputs.normalise(images)).float()
    x, h = model.heads.inputs(features, inputs.histograms[there])
    return model.heads.project(x, h, drop=drop)


@dataclass(frozen=True)
class SelfTerm:
    """What one self-supervised pass gave; its gradients are already in the student."""

    loss: float
    entropy: float  # mean entropy of a target / ln K
    spread: float  # entropy of the mean target / ln K


def self_term(
    student: MedalModel,
    teacher: MedalModel,
    centre: Centre,
    inputs: Inputs,
    rows: torch.Tensor,
    views: Views,
    temperature: float,
    config: TrainConfig,
    rng: torch.Generator,
) -> SelfTerm:
    """DINO's loss of one batch of images, with its gradients added to the student's, view by view.

    The teacher sees two global views, the student those and the local ones; every view has lost its colours. A view's
    graph, with its K logits, is freed before the next view starts: memory holds one view, however many there are.
    """
    assert inputs.pixels is not None
    device_type = inputs.device.type
    front, images = garment(inputs.pixels[rows]), inputs.load(rows)

    def view(size: int, scale: tuple[float, float], on_garment: bool) -> torch.Tensor:
        flip = torch.rand(len(rows), generator=rng) < 0.5
        return without_colour(cut(images, garment_boxes(front, scale, rng, on_garment=on_garment), size, flip), rng)

    globals_ = [view(config.input_size, (config.global_scale, 1.0), False) for _ in range(2)]
    autocast = torch.autocast(device_type, dtype=torch.bfloat16, enabled=config.bf16 and device_type == "cuda")
    with torch.no_grad(), autocast:
        logits = [teacher.prototype_logits(inputs.normalise(g)).float() for g in globals_]
    if config.balance == "sinkhorn":
        targets = [sinkhorn_targets(x, temperature) for x in logits]
    else:
        targets = [dino_targets(x, centre.value, temperature) for x in logits]
    centre.update(logits)
    total_weight = 2.0 + 2.0 * views.local_crops * views.local_weight  # pairs of views, weighted
    loss = 0.0
    for n in range(2 + views.local_crops):
        if n < 2:
            x, others, weight = globals_[n], [targets[1 - n]], 1.0
            if views.shape_suppression > 0:
                suppressed = torch.rand(len(rows), generator=rng) < views.shape_suppression
                x = shuffle_tiles(x, suppressed, rng)
        else:
            x, others, weight = view(config.local_size, views.local_scale, True), targets, views.local_weight
        with autocast:
            own = student.prototype_logits(inputs.normalise(x))
        term = dino_cross_entropy(own, others, config.student_temperature) * (weight / total_weight)
        (term * config.ssl_weight).backward()  # type: ignore[no-untyped-call]
        loss += float(term.detach())
    return SelfTerm(loss, *_entropies(torch.cat(targets)))


def _entropies(targets: torch.Tensor) -> tuple[float, float]:
    most = float(np.log(targets.shape[1]))
    each = -(targets * targets.clamp_min(1e-30).log()).sum(-1).mean()
    mean = targets.mean(0)
    return float(each) / most, float(-(mean * mean.clamp_min(1e-30).log()).sum()) / most
