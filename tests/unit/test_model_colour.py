"""CIE LUV and the background-aware soft histogram."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medal_model.colour import HISTOGRAM_SIZE, foreground, luv_histogram, rgb_to_luv


@pytest.mark.parametrize(
    ("rgb", "luv"),
    [  # CIE 1976 L*u*v*, D65, as published for the sRGB primaries
        ((255, 0, 0), (53.24, 175.01, 37.76)),
        ((0, 255, 0), (87.74, -83.08, 107.40)),
        ((0, 0, 255), (32.30, -9.40, -130.34)),
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
    ],
)
def test_luv_of_reference_colours(rgb: tuple[int, ...], luv: tuple[float, ...]) -> None:
    got = rgb_to_luv(torch.tensor(rgb, dtype=torch.uint8))
    assert got.numpy() == pytest.approx(luv, abs=0.02)
    if len(set(rgb)) == 1:
        assert got[1:].abs().max() < 1e-9


def test_luv_takes_images_and_lists_alike() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    assert torch.allclose(rgb_to_luv(images)[1], rgb_to_luv(images[1].movedim(0, -1)).movedim(-1, 0), atol=1e-9)


def _on(background: tuple[int, int, int], garment: tuple[int, int, int], size: int = 64) -> torch.Tensor:
    image = torch.tensor(background, dtype=torch.uint8)[:, None, None].repeat(1, size, size)
    image[:, 16:48, 20:44] = torch.tensor(garment, dtype=torch.uint8)[:, None, None]
    return image[None]


def _plain(colour: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8)[None, :, None, None].repeat(1, 1, 64, 64)


@pytest.mark.parametrize("background", [(255, 255, 255), (236, 238, 240), (150, 120, 90)])
@pytest.mark.parametrize("garment", [(200, 30, 40), (10, 10, 10), (30, 60, 160)])
def test_background_does_not_count(background: tuple[int, int, int], garment: tuple[int, int, int]) -> None:
    assert torch.equal(luv_histogram(_on(background, garment)), luv_histogram(_plain(garment)))


def test_white_garment_with_an_outline_is_kept() -> None:
    image = _on((255, 255, 255), (150, 150, 150))
    image[:, :, 17:47, 21:43] = 250  # white cloth inside a thin shadow
    front = foreground(image)[0]
    assert bool(front[17:47, 21:43].all())
    assert int(front.sum()) == 32 * 24


@pytest.mark.parametrize("colour", [(255, 255, 255), (240, 240, 240), (200, 30, 40)])
def test_plain_image_still_gets_a_histogram(colour: tuple[int, int, int]) -> None:
    assert bool(foreground(_plain(colour)).all())
    assert float(luv_histogram(_plain(colour)).sum()) == pytest.approx(1.0, abs=1e-6)


def test_letterboxed_grey_photo_is_background_up_to_the_garment() -> None:
    image = _on((232, 232, 232), (20, 20, 120))
    image[:, :, :, :8] = 255
    image[:, :, :, -8:] = 255
    assert int(foreground(image).sum()) == 32 * 24


def test_histogram_is_a_distribution() -> None:
    h = luv_histogram(torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8))
    assert h.shape == (5, HISTOGRAM_SIZE)
    assert h.dtype == torch.float32
    assert bool((h >= 0).all())
    assert h.sum(1).numpy() == pytest.approx(np.ones(5), abs=1e-6)


def test_trilinear_weights_by_plain_loops() -> None:
    """One colour that the rounding keeps (multiples of 255/31 at 0 and 255) against the definition."""
    for colour in [(255, 0, 0), (0, 255, 255), (255, 255, 0)]:
        luv = rgb_to_luv(torch.tensor(colour, dtype=torch.uint8)).tolist()
        want = np.zeros((8, 8, 8))
        ranges = ((0.0, 100.0), (-84.0, 176.0), (-135.0, 108.0))
        at = [(x - a) / (b - a) * 7 for x, (a, b) in zip(luv, ranges, strict=True)]
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    want[i, j, k] = np.prod([max(0.0, 1 - abs(p - n)) for p, n in zip(at, (i, j, k), strict=True)])
        assert luv_histogram(_plain(colour))[0].numpy() == pytest.approx(want.ravel(), abs=1e-3)


def test_histogram_does_not_depend_on_batch_mates_or_pixel_order() -> None:
    images = torch.randint(0, 256, (6, 3, 40, 40), dtype=torch.uint8)
    together = luv_histogram(images)
    assert torch.equal(together[4], luv_histogram(images[4:5])[0])
    assert torch.equal(together, luv_histogram(images.to(memory_format=torch.channels_last)))


@pytest.mark.parametrize("bad", [torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)])
def test_histogram_refuses_other_input(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        luv_histogram(bad)
