"""The exported teacher: what is in its folder, writing it and reading its header. No torch here.

    model.safetensors   heads, masks as logits, and masks as float32 weights (what scoring uses)
    config.json         architecture, preprocessing, backbone by reference, categories and pair order, histogram
    model_card.md       for people
    metrics.json        what was measured, on what
    failures.jpg        pictures of known failures, shown by the card

`model_version` is the name and the first 12 hex digits of the sha256 over model.safetensors and config.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from medal_model.pairs import all_pairs

Arrays = Mapping[str, npt.NDArray[np.float32]]
WEIGHTS_FILE, CONFIG_FILE, CARD_FILE, METRICS_FILE = "model.safetensors", "config.json", "model_card.md", "metrics.json"
FORMAT = 1
MASKS = "masks.weights"  # float32 [P, D], the normalised masks
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")  # it becomes part of partition values and file names
_KEYS = {
    "format", "name", "dim", "visual_dim", "colour_dim", "rho", "feature_dim", "categories", "pairs",
    "backbone", "preprocessing", "histogram", "training",
}  # fmt: skip


class TeacherError(ValueError):
    """A teacher's folder that cannot be used; the message names the file and the key."""


class NoMask(KeyError):
    """The teacher has no mask for a pair of categories."""

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return str(self.args[0])


@dataclass(frozen=True)
class TeacherHeader:
    """What planning and scoring need of a teacher, without its network.

    `masks` is float32 [P, dim], row p the weights of `pairs[p]` (unordered); `backbone` and `preprocessing` are
    the sections of config.json.
    """

    name: str
    model_version: str
    categories: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    masks: npt.NDArray[np.float32] = field(repr=False, compare=False)
    backbone: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    dim: int
    visual_dim: int

    def weights(self, source: str, target: str) -> npt.NDArray[np.float32]:
        """The mask of two categories in either order: float32 [dim], mean 1. Raises NoMask (a KeyError)."""
        for n, pair in enumerate(self.pairs):
            if pair in ((source, target), (target, source)):
                return self.masks[n]
        raise NoMask(
            f"teacher {self.model_version} has no mask for {source} and {target}; its categories are "
            f"{', '.join(self.categories)}"
        )


@dataclass(frozen=True)
class Architecture:
    """Sizes of the exported heads, as in `network.HeadShape`."""

    feature_dim: int
    histogram_dim: int
    visual_dim: int
    colour_dim: int
    rho: float

    @property
    def dim(self) -> int:
        return self.visual_dim + self.colour_dim


def model_version(name: str, weights: bytes, config: bytes) -> str:
    """name + "-" + first 12 hex digits of sha256(len(weights) | weights | config)."""
    digest = hashlib.sha256(len(weights).to_bytes(8, "little"))
    digest.update(weights)
    digest.update(config)
    return f"{name}-{digest.hexdigest()[:12]}"


def check_name(name: str) -> None:
    """Raises TeacherError for a name that cannot be part of file names and partition values."""
    if not _NAME.fullmatch(name):
        raise TeacherError(
            f"a teacher's name must be 1 to 40 of lower case letters, digits, '.', '_' and '-', the first a letter or "
            f"digit; is '{name}'"
        )


def export_teacher(
    folder: Path,
    *,
    name: str,
    tensors: Arrays,
    masks: npt.NDArray[np.float32],
    categories: Sequence[str],
    architecture: Architecture,
    backbone: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    histogram: Mapping[str, Any],
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    card: str,
) -> TeacherHeader:
    """Write a teacher's folder and read its header back.

    `tensors` are the heads' and masks' parameters by name; `masks` float32 [P, dim] in `all_pairs` order.
    `{model_version}` in `card` is filled in. Raises TeacherError for a bad name, shapes that do not fit,
    non-finite numbers or masks that do not average 1.
    """
    check_name(name)
    pairs = all_pairs(categories)
    arrays = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in tensors.items()}
    arrays[MASKS] = np.ascontiguousarray(masks, dtype=np.float32)
    for key, value in arrays.items():
        if not np.isfinite(value).all():
            raise TeacherError(f"{folder}: tensor {key} holds NaN or infinity; the teacher is not exported")
    _check_masks(arrays[MASKS], len(pairs), architecture.dim, folder / WEIGHTS_FILE)
    config = {
        "format": FORMAT, "name": name, "dim": architecture.dim, "visual_dim": architecture.visual_dim,
        "colour_dim": architecture.colour_dim, "rho": architecture.rho, "feature_dim": architecture.feature_dim,
        "categories": list(categories), "pairs": [list(p) for p in pairs], "backbone": dict(backbone),
        "preprocessing": dict(preprocessing), "histogram": dict(histogram), "training": dict(training),
    }  # fmt: skip
    weights_bytes, config_bytes = save(arrays), _json(config)
    version = model_version(name, weights_bytes, config_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / WEIGHTS_FILE, weights_bytes)
    _write(folder / METRICS_FILE, _json({"model_version": version, **metrics}))
    _write(folder / CARD_FILE, card.replace("{model_version}", version).encode())
    _write(folder / CONFIG_FILE, config_bytes)
    return read_header(folder)


def read_header(folder: Path) -> TeacherHeader:
    """Header of an exported teacher. Raises TeacherError naming file and key."""
    return read_teacher(folder)[0]


def read_teacher(folder: Path) -> tuple[TeacherHeader, dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
    """Header, whole config and all tensors, from one read of each file. Raises TeacherError."""
    weights_bytes, config_bytes = _read(folder / WEIGHTS_FILE), _read(folder / CONFIG_FILE)
    config = _checked(config_bytes, folder / CONFIG_FILE)
    try:
        tensors = load(weights_bytes)
    except (SafetensorError, ValueError, KeyError) as e:
        raise TeacherError(f"{folder / WEIGHTS_FILE}: is no safetensors file: {e}") from e
    if MASKS not in tensors:
        raise TeacherError(f"{folder / WEIGHTS_FILE}: tensor {MASKS} is missing")
    pairs = tuple((str(a), str(b)) for a, b in config["pairs"])
    masks = tensors[MASKS]
    _check_masks(masks, len(pairs), config["dim"], folder / WEIGHTS_FILE)
    masks.setflags(write=False)
    header = TeacherHeader(
        name=config["name"],
        model_version=model_version(config["name"], weights_bytes, config_bytes),
        categories=tuple(config["categories"]),
        pairs=pairs,
        masks=masks,
        backbone=config["backbone"],
        preprocessing=config["preprocessing"],
        dim=config["dim"],
        visual_dim=config["visual_dim"],
    )
    return header, config, tensors


def _checked(data: bytes, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(data)
    except ValueError as e:
        raise TeacherError(f"{path}: cannot be read as JSON: {e}") from e
    if not isinstance(config, dict):
        raise TeacherError(f"{path}: must be a JSON object")
    if config.get("format") != FORMAT:
        raise TeacherError(f"{path}: format: is {config.get('format')!r}, this version reads {FORMAT}")
    if odd := _KEYS ^ set(config):
        raise TeacherError(f"{path}: {', '.join(sorted(odd))}: missing or unknown key")
    for key in ("dim", "visual_dim", "colour_dim", "feature_dim"):
        if type(config[key]) is not int or config[key] < 1:
            raise TeacherError(f"{path}: {key}: must be a positive whole number, is {config[key]!r}")
    if type(config["rho"]) not in (int, float) or not 0 <= config["rho"] <= 1:
        raise TeacherError(f"{path}: rho: must be from 0 to 1, is {config['rho']!r}")
    if config["dim"] != config["visual_dim"] + config["colour_dim"]:
        raise TeacherError(f"{path}: dim: must be visual_dim + colour_dim")
    for key in ("backbone", "preprocessing", "histogram", "training"):
        if not isinstance(config[key], dict):
            raise TeacherError(f"{path}: {key}: must be an object")
    if not isinstance(config["name"], str) or not _NAME.fullmatch(config["name"]):
        raise TeacherError(f"{path}: name: {config['name']!r} is no teacher's name")
    categories = config["categories"]
    if not isinstance(categories, list) or not categories or len(set(map(str, categories))) != len(categories):
        raise TeacherError(f"{path}: categories: must be a list of different names")
    if config["pairs"] != [list(p) for p in all_pairs(categories)]:
        raise TeacherError(f"{path}: pairs: must be all unordered pairs of `categories` in their order")
    return config


def _check_masks(masks: npt.NDArray[np.float32], pairs: int, dim: int, path: Path) -> None:
    if masks.dtype != np.float32 or masks.shape != (pairs, dim):
        raise TeacherError(f"{path}: {MASKS}: must be float32 [{pairs}, {dim}], is {masks.dtype} {masks.shape}")
    if not np.isfinite(masks).all() or (masks < 0).any() or np.abs(masks.mean(1) - 1).max() > 1e-4:
        raise TeacherError(f"{path}: {MASKS}: every mask must be finite, not negative, and average 1")


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as e:
        raise TeacherError(f"{path}: no such file; a teacher's folder is written by `medal train --out`") from e
    except OSError as e:
        raise TeacherError(f"{path}: cannot be read: {e}") from e


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(data)
    os.replace(beside, path)
