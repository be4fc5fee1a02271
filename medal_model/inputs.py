"""What a training run knows of its items, by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from medal_model.gallery import Arrays, Gallery
from medal_model.meta_spaces import pair_matrix


@dataclass(frozen=True)
class Network:
    """A backbone to be trained, its input's mean and std by channel, and the images it learns from.

    `pixels` is uint8 [M, 3, S, S]: the gallery's rows first, then images that serve self-supervision alone;
    `seen` int64 are the rows that self-supervision may look at (none of those that questions are asked about).
    """

    backbone: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pixels: torch.Tensor
    seen: np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Texts:
    """Frozen text vectors of the gallery's rows: float32 [N, T], and which rows have one: bool [N]."""

    vectors: Arrays
    told: np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Inputs:
    """What is known of all items by row, on the training device.

    `features` [N, F] where the backbone is frozen, else None; `histograms` [N, 512]; `kinds` int64 [N], the
    category's number; `pairs` int64 [C, C], the mask of two categories; `pixels` uint8 [M, 3, S, S] on the CPU, M >= N
    (rows from N on serve self-supervision alone); `text` [N, T] with `told` bool [N], or None.
    """

    features: torch.Tensor | None
    histograms: torch.Tensor
    kinds: torch.Tensor
    pairs: torch.Tensor
    pixels: torch.Tensor | None
    text: torch.Tensor | None
    told: torch.Tensor | None
    mean: torch.Tensor  # [1, 3, 1, 1]
    std: torch.Tensor

    @property
    def device(self) -> torch.device:
        return self.histograms.device

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Backbone's input of images in [0, 1]."""
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def load(self, rows: torch.Tensor) -> torch.Tensor:
        """Pixels of rows, float [B, 3, S, S] in [0, 1] on the device; they travel as uint8."""
        assert self.pixels is not None
        return self.pixels[rows].to(self.device, non_blocking=True).float() / 255.0


def make_inputs(
    gallery: Gallery, categories: Sequence[str], network: Network | None, texts: Texts | None, device: torch.device
) -> Inputs:
    """Everything on `device` but the pixels."""
    number = {c: n for n, c in enumerate(categories)}
    mean, std = (network.mean, network.std) if network is not None else ((0.0,) * 3, (1.0,) * 3)
    return Inputs(
        features=None if network is not None else torch.from_numpy(gallery.features).to(device),
        histograms=torch.from_numpy(gallery.histograms).to(device),
        kinds=torch.tensor([number[c] for c in gallery.categories], device=device),
        pairs=pair_matrix(categories).to(device),
        pixels=None if network is None else network.pixels,
        text=None if texts is None else torch.from_numpy(texts.vectors).to(device),
        told=None if texts is None else torch.from_numpy(texts.told).to(device),
        mean=torch.tensor(mean, device=device).view(1, 3, 1, 1),
        std=torch.tensor(std, device=device).view(1, 3, 1, 1),
    )
