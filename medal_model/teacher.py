"""A loaded teacher: image bytes to pixels, pixels to latents."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from medal_model.backbones import BackboneError, BackboneSpec
from medal_model.colour import HISTOGRAM_BINS, HISTOGRAM_SIZE, LEVELS
from medal_model.export import CONFIG_FILE, WEIGHTS_FILE, TeacherError, TeacherHeader, read_teacher
from medal_model.features import Extractor
from medal_model.network import Heads, HeadShape
from medal_model.preprocessing import VERSION, preprocessing

# What this code does to an image and its colours; a teacher trained on anything else must not be run by it.
HISTOGRAM = {"space": "CIE LUV D65", "bins": HISTOGRAM_BINS, "levels": LEVELS, "background": "border-1"}


class Teacher:
    """The teacher on one device, frozen. Made by `load_teacher`."""

    def __init__(self, header: TeacherHeader, extractor: Extractor, heads: Heads) -> None:
        self.header = header
        self.input_size = extractor.input_size
        self.extractor = extractor
        self.heads = heads.requires_grad_(False).eval().to(extractor.device)

    def preprocess(self, data: bytes) -> torch.Tensor:
        """Decode, trim as the teacher was trained, letterbox: uint8 [3, S, S]. Raises ImageError."""
        return self.extractor.preprocess(data)

    @torch.inference_mode()
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Latents float32 [B, 128] on the teacher's device, unit norm, of uint8 [B, 3, S, S].

        At a fixed batch shape, device and thread count a row's bits depend on its own image alone.
        Raises ValueError for another dtype or shape, FloatingPointError where a number is not finite.
        """
        z = self.latents(images)
        self.check(z)
        return z

    @torch.inference_mode()
    def latents(self, images: torch.Tensor) -> torch.Tensor:
        """What `embed` gives, unchecked: on a GPU, whose host would have to wait for the check of each batch."""
        features, histograms = self.extractor.extract(images)
        z: torch.Tensor = self.heads(features, histograms)
        return z

    def check(self, z: torch.Tensor) -> None:
        """Raises FloatingPointError naming the rows that are no finite unit vectors."""
        bad = (~torch.isfinite(z)).any(1) | ((z.square().sum(1) - 1).abs() > 1e-3)
        if bool(bad.any()):
            rows = bad.nonzero()[:, 0].tolist()
            raise FloatingPointError(f"{self.header.model_version}: rows {rows[:10]} gave no finite unit vector")

    def on(self, device: str | torch.device, dtype: torch.dtype) -> Teacher:
        """A copy on a device, with the backbone in `dtype`; pixels, colours and heads stay as they are."""
        return Teacher(self.header, self.extractor.on(device, dtype), copy.deepcopy(self.heads))


def load_teacher(folder: Path, device: str | torch.device = "cpu") -> Teacher:
    """Load an exported teacher and its referenced backbone.

    Raises TeacherError naming file and key: damaged or foreign folder, weights that do not fit, a backbone that
    is missing or not the referenced one, preprocessing or histogram of another version.
    """
    header, config, tensors = read_teacher(folder)
    path = folder / CONFIG_FILE
    if config["histogram"] != HISTOGRAM:
        raise TeacherError(f"{path}: histogram: {config['histogram']} is not what this version computes: {HISTOGRAM}")
    prep = config["preprocessing"]
    if type(prep.get("input_size")) is not int or prep["input_size"] < 1 or type(prep.get("trim")) is not bool:
        raise TeacherError(f"{path}: preprocessing: needs input_size, from 1 on, and trim, is {prep}")
    if prep.get("version", 1) != VERSION:
        raise TeacherError(
            f"{path}: preprocessing: version: is {prep.get('version', 1)!r}, this version of the code does {VERSION}; "
            "train the teacher anew, or run it by the code it was made with"
        )
    if prep != preprocessing(prep["input_size"], prep["trim"]):
        raise TeacherError(f"{path}: preprocessing: {prep} is not what this version does; train the teacher anew")
    state = _part(tensors, "heads.")
    hidden = len(state["deep.0.bias"]) if "deep.0.bias" in state else 0
    shape = HeadShape(
        config["feature_dim"], HISTOGRAM_SIZE, config["visual_dim"], config["colour_dim"], float(config["rho"]), hidden
    )
    heads = Heads(shape)
    try:
        heads.load_state_dict(state)
    except RuntimeError as e:
        raise TeacherError(f"{folder / WEIGHTS_FILE}: {' '.join(str(e).split())}") from e
    try:
        spec = BackboneSpec.from_dict(config["backbone"])
        extractor = Extractor(spec, prep["input_size"], prep["trim"], device, _part(tensors, "backbone."))
    except BackboneError as e:
        raise TeacherError(f"{path}: backbone: {e}") from e
    if extractor.spec.feature_dim != shape.feature_dim:
        raise TeacherError(f"{path}: feature_dim: is {shape.feature_dim}, the backbone's {extractor.spec.feature_dim}")
    return Teacher(header, extractor, heads)


def _part(tensors: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, torch.Tensor]:
    """Tensors of one part, without its prefix."""
    return {k.removeprefix(prefix): torch.from_numpy(v.copy()) for k, v in tensors.items() if k.startswith(prefix)}
