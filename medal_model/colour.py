"""Colour: sRGB to CIE LUV, and the soft 8 x 8 x 8 LUV histogram of the garment without its background.

Histograms are counted in integers, so that one is the same bits on every device, in any batch, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from medal_model import kernels

HISTOGRAM_BINS = 8
HISTOGRAM_SIZE = HISTOGRAM_BINS**3

# sRGB primaries, linear RGB to XYZ (IEC 61966-2-1). The white point is the sum of each row, which is D65
# to the matrix' own precision: neutral greys then have u = v = 0 exactly.
_RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
# Range of the sRGB gamut in LUV; bin centres stand on its ends and evenly between.
_L_RANGE = (0.0, 100.0)
_U_RANGE = (-84.0, 176.0)
_V_RANGE = (-135.0, 108.0)

LEVELS = 32  # grey levels a channel is rounded to before the table: at most 4.2 of 255 off; 0 and 255 are kept
_UNIT = 1 << 12  # integer weight of one pixel; eight corner weights add up to exactly this


@dataclass(frozen=True)
class BackgroundRule:
    """What counts as background (see `foreground`). Levels are of 255."""

    light: int = 200  # near-white background: every channel at least this ...
    neutral: int = 12  # ... and the channels no further apart than this
    border_tolerance: int = 10  # or: this near to the border's own median colour, in every channel
    border_agreement: float = 0.7  # share of the (non-white) border that must agree for that
    step: int = 6  # a jump to the next pixel larger than this is an edge, which background does not cross
    least: float = 0.002  # less foreground than this share of the pixels: everything is foreground


DEFAULT_RULE = BackgroundRule()


def rgb_to_luv(rgb: torch.Tensor) -> torch.Tensor:
    """CIE 1976 L*u*v* under D65 of sRGB levels.

    `rgb` is uint8 or floating 0..255, channels in the second dimension if it has four, else in the last:
    [B, 3, H, W] or [..., 3]. Gives float64 of the same shape; L 0..100.
    Source: CIE 15:2004, section 8.2.2; sRGB by IEC 61966-2-1. Raises ValueError for another shape.
    """
    dim = 1 if rgb.ndim == 4 else -1
    if rgb.ndim == 0 or rgb.shape[dim] != 3:
        raise ValueError(f"needs [B, 3, H, W] or [..., 3], got {tuple(rgb.shape)}")
    c = rgb.movedim(dim, -1).to(torch.float64) / 255.0
    linear = torch.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    matrix = torch.tensor(_RGB_TO_XYZ, dtype=torch.float64, device=rgb.device)
    xn, yn, zn = (float(row) for row in matrix.sum(1))
    x, y, z = (linear[..., 0] * m[0] + linear[..., 1] * m[1] + linear[..., 2] * m[2] for m in matrix)
    yr = y / yn
    lightness = torch.where(yr > (6 / 29) ** 3, 116.0 * yr.clamp_min(1e-12) ** (1 / 3) - 16.0, (29 / 3) ** 3 * yr)
    denominator = x + 15.0 * y + 3.0 * z
    safe = torch.where(denominator > 0, denominator, torch.ones_like(denominator))
    un, vn = 4 * xn / (xn + 15 * yn + 3 * zn), 9 * yn / (xn + 15 * yn + 3 * zn)
    u = torch.where(denominator > 0, 13.0 * lightness * (4.0 * x / safe - un), torch.zeros_like(x))
    v = torch.where(denominator > 0, 13.0 * lightness * (9.0 * y / safe - vn), torch.zeros_like(x))
    return torch.stack((lightness, u, v), -1).movedim(-1, dim)


def foreground(images: torch.Tensor, rule: BackgroundRule = DEFAULT_RULE) -> torch.Tensor:
    """Which pixels are the product: bool [B, H, W] of uint8 [B, 3, H, W].

    A pixel is background when it *looks like background* and is *seen from the border*.
    It looks like background when it is light and neutral (white to light grey), or near the median colour of
    the border where most of the border agrees on one (letterbox white aside).
    It is seen when, in at least one of the four directions, all pixels from it to the border look like
    background with no edge between them: a white shirt is kept, because its outline stops the view.
    Where hardly anything would be left (an all-white image), every pixel is foreground.
    On a CPU by compiled loops, elsewhere by torch, with the same answer.
    """
    if images.device.type == "cpu" and images.dtype == torch.uint8 and images.numel():
        front = np.empty((images.shape[0], *images.shape[2:]), np.uint8)
        for image, own in zip(_last(images), front, strict=True):
            _foreground(image, rule, own)
        return torch.from_numpy(front.view(np.bool_))
    return _foreground_torch(images, rule)


def _last(images: torch.Tensor) -> npt.NDArray[np.uint8]:
    """[B, 3, H, W] as [B, H, W, 3], contiguous and writeable, as the loops are compiled for."""
    pixels: npt.NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def _foreground(image: npt.NDArray[np.uint8], rule: BackgroundRule, front: npt.NDArray[np.uint8]) -> None:
    r = rule
    kernels.foreground(
        image, r.light, r.neutral, r.border_tolerance, r.border_agreement, r.step, r.least, front
    )  # fmt: skip


def _foreground_torch(images: torch.Tensor, rule: BackgroundRule) -> torch.Tensor:
    x = images.to(torch.int16)
    high, low = x.amax(1), x.amin(1)
    white = low == 255
    like = (low >= rule.light) & (high - low <= rule.neutral)
    like |= _like_border(x, white, rule)
    seen = torch.zeros_like(like)
    for dim in (1, 2):
        edge = _edges(x, white, dim, rule.step)
        for backwards in (False, True):
            walk, stop = (like.flip(dim), edge.flip(dim)) if backwards else (like, edge)
            if backwards:  # the edge between i and i+1 is met on arriving at i
                stop = stop.roll(1, dim)
                stop.select(dim, 0).fill_(False)
            clear = (walk & ~stop).to(torch.int8).cummin(dim).values.to(torch.bool)
            seen |= clear.flip(dim) if backwards else clear
    front = ~seen
    enough = front.flatten(1).sum(1) >= max(1.0, rule.least * front[0].numel())
    return front | ~enough[:, None, None]


def _edges(x: torch.Tensor, white: torch.Tensor, dim: int, step: int) -> torch.Tensor:
    """bool [B, H, W]: there is an edge between a pixel and the one before it along `dim`.

    The seam between the letterbox and a light grey photo is none.
    """
    jump = (x.diff(dim=dim + 1).abs().amax(1)) > step
    n = white.shape[dim]
    seam = white.narrow(dim, 0, n - 1) ^ white.narrow(dim, 1, n - 1)
    edge = torch.zeros_like(white)
    edge.narrow(dim, 1, n - 1).copy_(jump & ~seam)
    return edge


def _like_border(x: torch.Tensor, white: torch.Tensor, rule: BackgroundRule) -> torch.Tensor:
    """bool [B, H, W]: near the median of the border, where the border is near-uniform."""
    ring = torch.cat((x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]), 2)  # [B, 3, N]
    blank = torch.cat((white[:, 0], white[:, -1], white[:, :, 0], white[:, :, -1]), 1)  # [B, N]
    known = (~blank).sum(1)
    ordered = ring.masked_fill(blank[:, None], 256).sort(2).values
    at = (known // 2).clamp_max(ring.shape[2] - 1)
    median = ordered.gather(2, at[:, None, None].expand(-1, 3, 1))  # [B, 3, 1]
    near = ((ring - median).abs().amax(1) <= rule.border_tolerance) & ~blank
    agrees = near.sum(1) >= rule.border_agreement * known.clamp_min(1)
    return ((x - median[..., None]).abs().amax(1) <= rule.border_tolerance) & agrees[:, None, None]


def luv_histogram(images: torch.Tensor, rule: BackgroundRule = DEFAULT_RULE) -> torch.Tensor:
    """Soft LUV histogram of the foreground: float32 [B, 512], each row sums to 1, of uint8 [B, 3, H, W].

    Bin order is (L, u, v), v fastest. A pixel is shared among the eight nearest bin centres, trilinearly.
    Colours are first rounded to LEVELS a channel: a weight is at most 0.2 off against the unrounded colour,
    the histogram of a photo typically 0.01 in all (L1). Integer counts: independent of batch-mates and device.
    Raises ValueError for another dtype or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"needs uint8 [B, 3, H, W], got {images.dtype} {tuple(images.shape)}")
    if images.device.type == "cpu" and images.numel():
        return _histogram_compiled(images, rule)
    return _histogram_torch(images, rule, every=True)


def _histogram_compiled(images: torch.Tensor, rule: BackgroundRule) -> torch.Tensor:
    bins, weights = (t.numpy() for t in _table("cpu"))
    total = np.zeros((images.shape[0], HISTOGRAM_SIZE), np.int64)
    front = np.empty(images.shape[2:], np.uint8)
    for image, own in zip(_last(images), total, strict=True):
        _foreground(image, rule, front)
        kernels.colour_counts(image, front, bins, weights, own)
    return torch.from_numpy((total / total.sum(1, keepdims=True)).astype(np.float32))


def _histogram_torch(images: torch.Tensor, rule: BackgroundRule, every: bool = False) -> torch.Tensor:
    """`every`: all 32,768 colours are looked up, not the few thousand there are, which a GPU's host would wait for."""
    bins, weights = _table(str(images.device))
    b = images.shape[0]
    level = (images.to(torch.int64) * (LEVELS - 1) + 127) // 255
    code = (level[:, 0] * LEVELS + level[:, 1]) * LEVELS + level[:, 2]
    counts = torch.zeros(b, LEVELS**3, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, code.flatten(1), _foreground_torch(images, rule).flatten(1).to(torch.int64))
    used = torch.arange(LEVELS**3, device=images.device) if every else counts.any(0).nonzero()[:, 0]
    counts = counts[:, used]
    total = torch.zeros(b, HISTOGRAM_SIZE, dtype=torch.int64, device=images.device)
    for corner in range(8):
        where = bins[used, corner].expand(b, -1)
        total.scatter_add_(1, where, counts * weights[used, corner])
    pixels = total.sum(1, keepdim=True).to(torch.float64)
    return (total.to(torch.float64) / pixels).to(torch.float32)


@lru_cache(maxsize=4)
def _table(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """For each rounded colour its eight bins and their integer weights: int64 [32768, 8] both."""
    grid = torch.arange(LEVELS, dtype=torch.float64) * 255.0 / (LEVELS - 1)
    rgb = torch.stack(torch.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(-1, 3)
    luv = rgb_to_luv(rgb)
    low = torch.tensor([r[0] for r in (_L_RANGE, _U_RANGE, _V_RANGE)], dtype=torch.float64)
    high = torch.tensor([r[1] for r in (_L_RANGE, _U_RANGE, _V_RANGE)], dtype=torch.float64)
    position = ((luv - low) / (high - low)).clamp(0, 1) * (HISTOGRAM_BINS - 1)
    floor = position.floor().clamp_max(HISTOGRAM_BINS - 2)
    fraction = position - floor
    bins, weights = [], []
    for corner in range(8):
        bits = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], dtype=torch.float64)
        cell = (floor + bits).to(torch.int64)
        bins.append((cell[:, 0] * HISTOGRAM_BINS + cell[:, 1]) * HISTOGRAM_BINS + cell[:, 2])
        weights.append(torch.where(bits > 0, fraction, 1 - fraction).prod(1))
    exact = torch.stack(weights, 1) * _UNIT
    whole = exact.round()
    whole.scatter_add_(1, whole.argmax(1, keepdim=True), _UNIT - whole.sum(1, keepdim=True))  # rest to the largest
    return torch.stack(bins, 1).to(device), whole.to(torch.int64).to(device)
