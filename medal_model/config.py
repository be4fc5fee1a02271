"""Training configuration: flat, typed, commented; an unknown key is an error; it travels with the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml


class ConfigError(ValueError):
    """A training configuration with an unknown key or a value out of range; the message names it."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the frozen-backbone trainer. The defaults were chosen on `fashion` nondisjoint valid."""

    backbone: str = "tf_efficientnet_lite0"  # timm name
    input_size: int = 224  # pixels, side of the letterboxed square
    trim: bool = True  # cut the empty border off before letterboxing: small items fill the square
    rho: float = 0.75  # visual share of the latent (design section 3)
    epochs: int = 60  # at most; one epoch is every ordered pair of every outfit once
    patience: int = 12  # epochs without a better validation FITB before stopping
    batch_size: int = 2048  # triplets a step
    negatives: int = 4  # fresh ones for each pair and epoch
    margin: float = 0.3  # of the triplet hinge, on scores in about [-1, 1]
    learning_rate: float = 1e-3  # AdamW, constant after `warmup`, then cosine to a tenth
    mask_learning_rate: float = 1e-2  # masks see few pairs each and want larger steps
    warmup: int = 20  # steps
    weight_decay: float = 0.05  # heads only
    drop: float = 0.3  # dropout on standardised features and on histograms
    ema: float = 0.98  # of the teacher, a step
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_RANGES: Mapping[str, tuple[float, float]] = {
    "input_size": (32, 1024), "rho": (0.0, 1.0), "epochs": (1, 10_000), "patience": (1, 10_000),
    "batch_size": (1, 1_000_000), "negatives": (1, 1000), "margin": (0.0, 4.0), "learning_rate": (0.0, 10.0),
    "mask_learning_rate": (0.0, 10.0), "warmup": (0, 1_000_000), "weight_decay": (0.0, 100.0), "drop": (0.0, 0.95),
    "ema": (0.0, 0.999999), "seed": (0, 2**31 - 1),
}  # fmt: skip


def make_config(values: Mapping[str, Any], where: str = "config") -> TrainConfig:
    """Checked configuration of the given values over the defaults. Raises ConfigError naming the key."""
    types = get_type_hints(TrainConfig)
    known = {f.name for f in fields(TrainConfig)}
    if unknown := set(values) - known:
        raise ConfigError(f"{where}: unknown key {', '.join(sorted(map(str, unknown)))}; known are {sorted(known)}")
    clean: dict[str, Any] = {}
    for key, value in values.items():
        want = types[key]
        if want is float and type(value) is int:
            value = float(value)
        if type(value) is not want:
            raise ConfigError(f"{where}: {key} must be of type {want.__name__}, is {value!r}")
        low, high = _RANGES.get(key, (float("-inf"), float("inf")))
        if want is not str and not low <= value <= high:
            raise ConfigError(f"{where}: {key} must be from {low:g} to {high:g}, is {value!r}")
        clean[key] = value
    return TrainConfig(**clean)


def read_config(path: Path | None, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Configuration from a YAML file (none: defaults), then `overrides`. Raises ConfigError naming file and key."""
    values: Any = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
            raise ConfigError(f"{path}: cannot be read as YAML: {e}") from e
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: must be a mapping of settings")
    return make_config({**values, **(overrides or {})}, str(path) if path else "config")
