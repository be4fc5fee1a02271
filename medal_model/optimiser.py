"""AdamW with a rate for each part of the model, layer-wise decay in the backbone, and clipping by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # not marked as exported
from torch import nn

from medal_model.config import TrainConfig
from medal_model.student import MedalModel

PARTS = ("backbone", "dino", "visual", "colour", "masks", "text")


def parts_of(student: MedalModel, text: nn.Module | None) -> dict[str, list[nn.Parameter]]:
    """Trained parameters by part. A part without any is left out."""
    heads = student.heads
    visual = [*heads.visual.parameters(), *(heads.deep.parameters() if heads.deep is not None else ())]
    parts: Mapping[str, list[nn.Parameter]] = {
        "backbone": list(student.backbone.parameters()) if student.backbone is not None else [],
        "dino": list(student.dino.parameters()) if student.dino is not None else [],
        "visual": visual,
        "colour": list(heads.colour.parameters()),
        "masks": list(student.masks.parameters()),
        "text": list(text.parameters()) if text is not None else [],
    }
    return {name: own for name in PARTS if (own := [p for p in parts[name] if p.requires_grad])}


def make_optimiser(student: MedalModel, text: nn.Module | None, config: TrainConfig) -> torch.optim.AdamW:
    """One optimiser over all parts. Each group keeps its full rate as `initial_lr`, for `set_rate`.

    Layer groups of the backbone are timm's; the k-th from its output learns at `layer_decay`^k of
    `backbone_learning_rate`. Biases and norms are not decayed.
    """
    groups: list[dict[str, Any]] = []
    for name, own in parts_of(student, text).items():
        if name == "backbone":
            assert student.backbone is not None
            body = getattr(student.backbone, "body", student.backbone)  # timm's own module knows its layers
            for group in param_groups_layer_decay(body, config.weight_decay, layer_decay=config.layer_decay):
                rate = config.backbone_learning_rate * group.pop("lr_scale")
                group.pop("param_names", None)
                groups.append({**group, "lr": rate})
        elif name == "masks":
            groups.append({"params": own, "lr": config.mask_learning_rate, "weight_decay": 0.0})
        else:
            wide = [p for p in own if p.ndim > 1]
            narrow = [p for p in own if p.ndim <= 1]
            groups.append({"params": wide, "lr": config.learning_rate, "weight_decay": config.weight_decay})
            if narrow:
                groups.append({"params": narrow, "lr": config.learning_rate, "weight_decay": 0.0})
    for group in groups:
        group["initial_lr"] = group["lr"]
    return torch.optim.AdamW(groups)


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Every group's rate is its full rate times `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * factor


def clip_parts(parts: Mapping[str, list[nn.Parameter]], limit: float) -> dict[str, float]:
    """Clip each part's gradient to a norm of `limit` (0: not at all); gives the norms before."""
    return {
        name: float(nn.utils.clip_grad_norm_(own, limit if limit > 0 else float("inf"))) for name, own in parts.items()
    }
