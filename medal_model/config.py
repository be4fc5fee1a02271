"""Training configuration: flat, typed, commented; an unknown key is an error; it travels with the teacher.

A file may name a preset and change it:

    preset: lite0_cpu_frozen
    epochs: 20
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from medal_model.settings_file import ConfigError, plain_value, read_mapping

PRESETS = ("lite0_cpu_frozen", "lite0_cpu_ssl", "lite2_cpu_frozen", "tiny_test", "vit_s16_gpu")


@dataclass(frozen=True)
class TrainConfig:
    """All settings of the trainer. The defaults are the preset `lite0_cpu_frozen`."""

    # Input and network
    backbone: str = "tf_efficientnet_lite0"  # timm name
    pretrained: bool = True  # packaged or hub weights; false: random ones from `seed`
    stages: int = 0  # last stages whose maps' means and deviations join the feature (backbones.WithStages)
    input_size: int = 224  # pixels, side of the letterboxed square (global views)
    trim: bool = True  # cut the empty border off before letterboxing: small items fill the square
    frozen: bool = True  # heads and masks on cached features; false: the backbone is trained as well
    hidden: int = 512  # width of a hidden layer beside the linear visual head; 0: none
    rho: float = 0.75  # visual share of the latent (design section 3)
    masks: bool = True  # false (ablation): the plain inner product
    colour: bool = True  # false (ablation): the visual part alone

    # Run
    device: str = "auto"  # auto, cpu or cuda
    bf16: bool = True  # autocast to bfloat16, on a GPU only
    epochs: int = 60  # at most; one epoch is every ordered pair of every outfit once
    epoch_steps: int = 0  # optimiser steps that end an epoch early; 0: the whole epoch
    patience: int = 12  # epochs without a better validation score before stopping
    seed: int = 0
    tensorboard: bool = False  # also log there, where the package is installed

    # Triplets
    batch_size: int = 2048  # triplets a step, over all processes
    negatives: int = 4  # fresh ones for each pair and epoch
    margin: float = 0.3  # of the triplet hinge, on scores in about [-1, 1]
    across: float = 0.0  # share of the hinge that holds a pair against other pairs' negatives (`losses.across_loss`)
    drop: float = 0.5  # dropout on standardised features and on histograms

    # Text term (training only; needs a table)
    text_weight: float = 0.2  # 0: off
    text_margin: float = 0.2

    # Self-supervision (needs frozen: false)
    ssl_weight: float = 0.0  # 0: off
    ssl_batch: int = 64  # images a step, over all processes
    ssl_more: bool = False  # also the photos among the images that are of no outfit
    outputs: int = 65_536  # prototypes
    head_hidden: int = 2048
    head_bottleneck: int = 256
    global_scale: float = 0.4  # least share of the garment's box in a global view
    local_size: int = 96  # pixels
    local_crops: int = 8  # at the start; half of it at the end
    local_weight_end: float = 0.5  # weight of a local view's loss at the end, from 1 at the start
    shape_suppression: float = 0.3  # at the start; 0 from half of training on
    balance: str = "centre"  # against collapse: centre or sinkhorn
    centre_momentum: float = 0.9
    student_temperature: float = 0.1
    teacher_temperature_start: float = 0.04
    teacher_temperature: float = 0.07
    teacher_warmup: float = 0.3  # share of training over which the teacher's temperature rises
    freeze_last: int = 1  # epochs in which the prototypes stay as they are

    # Optimiser (AdamW)
    learning_rate: float = 1e-3  # heads; cosine to a tenth after `warmup`
    mask_learning_rate: float = 1e-2  # masks see few pairs each and want larger steps
    backbone_learning_rate: float = 1e-4
    layer_decay: float = 0.75  # of the backbone's rate, a layer group towards the input
    warmup: int = 20  # steps
    weight_decay: float = 0.05  # not on masks, biases and norms
    clip: float = 3.0  # largest gradient norm of each group; 0: no clipping
    ema: float = 0.98  # teacher's momentum; rises to 1 with cosine where `ema_to_one`
    ema_to_one: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_RANGES: Mapping[str, tuple[float, float]] = {
    "stages": (0, 8), "input_size": (32, 1024), "hidden": (0, 65_536), "rho": (0.0, 1.0), "epochs": (1, 10_000),
    "epoch_steps": (0, 10_000_000), "patience": (1, 10_000), "seed": (0, 2**31 - 1),
    "batch_size": (1, 1_000_000), "negatives": (1, 1000), "margin": (0.0, 4.0), "across": (0.0, 1.0),
    "drop": (0.0, 0.95), "text_weight": (0.0, 100.0), "text_margin": (0.0, 2.0),
    "ssl_weight": (0.0, 100.0), "ssl_batch": (2, 1_000_000), "outputs": (2, 1_000_000), "head_hidden": (1, 65_536),
    "head_bottleneck": (1, 65_536), "global_scale": (0.05, 1.0), "local_size": (16, 1024), "local_crops": (0, 64),
    "local_weight_end": (0.0, 10.0), "shape_suppression": (0.0, 1.0), "centre_momentum": (0.0, 0.999999),
    "student_temperature": (1e-3, 10.0), "teacher_temperature_start": (1e-3, 10.0),
    "teacher_temperature": (1e-3, 10.0), "teacher_warmup": (0.0, 1.0), "freeze_last": (0, 10_000),
    "learning_rate": (0.0, 10.0), "mask_learning_rate": (0.0, 10.0), "backbone_learning_rate": (0.0, 10.0),
    "layer_decay": (0.01, 1.0), "warmup": (0, 1_000_000), "weight_decay": (0.0, 100.0), "clip": (0.0, 1e6),
    "ema": (0.0, 0.999999),
}  # fmt: skip
_CHOICES: Mapping[str, tuple[str, ...]] = {"balance": ("centre", "sinkhorn"), "device": ("auto", "cpu", "cuda")}


def make_config(values: Mapping[str, Any], where: str = "config") -> TrainConfig:
    """Checked configuration of the given values over the defaults. Raises ConfigError naming the key."""
    types = get_type_hints(TrainConfig)
    known = {f.name for f in fields(TrainConfig)}
    if unknown := set(values) - known:
        raise ConfigError(f"{where}: unknown key {', '.join(sorted(map(str, unknown)))}; known are {sorted(known)}")
    clean = {k: plain_value(k, v, types[k], where, _RANGES, _CHOICES) for k, v in values.items()}
    config = TrainConfig(**clean)
    if config.frozen and config.ssl_weight > 0:
        raise ConfigError(f"{where}: ssl_weight {config.ssl_weight:g} needs frozen: false; a frozen backbone is given")
    if config.teacher_temperature_start > config.teacher_temperature:
        raise ConfigError(f"{where}: teacher_temperature_start is above teacher_temperature")
    return config


def preset(name: str) -> dict[str, Any]:
    """Values of a preset shipped with the package. Raises ConfigError for an unknown name."""
    if name not in PRESETS:
        raise ConfigError(f"preset '{name}' is unknown; there are {', '.join(PRESETS)}")
    text = resources.files("medal_model").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text) or {}
    return values


def read_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Configuration from a YAML file (none: the defaults), then `overrides`. Either may name a `preset`.

    Raises ConfigError naming file and key.
    """
    values = {} if path is None else read_mapping(path)
    values = {**values, **(overrides or {})}
    if (base := values.pop("preset", None)) is not None:
        values = {**preset(str(base)), **values}
    return make_config(values, str(path) if path else "config")
