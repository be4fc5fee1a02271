"""Compiled loops against torch and against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medal_model import colour, kernels
from medal_model.colour import DEFAULT_RULE, foreground, luv_histogram
from medal_model.images import Photo, fit


def _pictures(size: int) -> torch.Tensor:
    """Flat, noisy, framed, letterboxed, textured, smooth: what the rules of the background tell apart."""
    rng = np.random.default_rng(size)
    y, x = np.mgrid[:size, :size] / size
    rows = [np.full((size, size, 3), v, np.float64) for v in (0, 199, 200, 240, 255)]
    rows += [rng.integers(0, 256, (size, size, 3)), rng.integers(196, 212, (size, size, 3))]
    rows += [np.stack([200 + 55 * x, 200 + 55 * y, 200 + 55 * x * y], -1), 255 * (rng.random((size, size, 3)) < 0.5)]
    for ground in (255, 236, 150):
        for noise in (0, 3, 8):
            scene = ground + rng.normal(0, noise, (size, size, 3))
            scene[size // 4 : size // 2, size // 3 : size - 2] = rng.integers(0, 256, 3)
            scene[:, : size // 8] = 255
            rows.append(scene)
    return torch.from_numpy(np.stack(rows).clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [1, 2, 7, 32, 129])
def test_foreground_and_histogram_are_those_of_torch_bit_for_bit(size: int) -> None:
    for pictures in (_pictures(size), _pictures(size).contiguous()):
        assert torch.equal(foreground(pictures), colour._foreground_torch(pictures, DEFAULT_RULE))
        for every in (False, True):
            assert torch.equal(luv_histogram(pictures), colour._histogram_torch(pictures, DEFAULT_RULE, every))


def test_the_loops_know_the_levels_of_the_table() -> None:
    assert kernels._LEVELS == colour.LEVELS


@pytest.mark.parametrize(
    ("height", "width", "size"), [(100, 100, 32), (37, 90, 64), (500, 1, 32), (1, 1, 9), (20, 30, 224), (333, 251, 100)]
)
def test_resize_is_pillows_in_float_rounded(height: int, width: int, size: int) -> None:
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    got = fit(Photo(image, height, width), size).permute(1, 2, 0).numpy()
    rows, columns = np.flatnonzero((got != 255).any(2).any(1)), np.flatnonzero((got != 255).any(2).any(0))
    part = got[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for c in range(3):
        plane = Image.fromarray(image[:, :, c].astype(np.float32))
        want = np.asarray(plane.resize((part.shape[1], part.shape[0]), Image.Resampling.BILINEAR))
        assert np.abs(part[:, :, c] - want).max() <= 0.501


def test_a_box_is_resized_with_what_lies_around_it() -> None:
    image = np.random.default_rng(1).integers(0, 256, (80, 120, 3)).astype(np.uint8)
    got = fit(Photo(image, 80, 120), 24, (10, 20, 70, 80)).permute(1, 2, 0).numpy()
    for c in range(3):
        plane = Image.fromarray(image[:, :, c].astype(np.float32))
        want = np.asarray(plane.resize((24, 24), Image.Resampling.BILINEAR, box=(20, 10, 80, 70)))
        assert np.abs(got[:, :, c] - want).max() <= 0.501


@pytest.mark.parametrize("by", [2, 4, 8])
def test_means_of_blocks(by: int) -> None:
    image = np.random.default_rng(by).integers(0, 256, (19, 33, 3)).astype(np.uint8)
    got = kernels.means(image, by)
    for y in range(got.shape[0]):
        for x in range(got.shape[1]):
            block = image[y * by : y * by + by, x * by : x * by + by].reshape(-1, 3).astype(np.float64)
            assert np.abs(got[y, x] - block.mean(0)).max() <= 0.5
