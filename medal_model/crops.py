"""Views of product photos for self-supervision: random crops, colour taken away, shape taken away. All batched.

Everything random comes from one torch.Generator on the CPU, so a view depends on the seed alone, not on the device.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from medal_model.colour import foreground

_TRIES = 6  # boxes drawn for each crop; the first that shows enough garment is taken, else the best
_ENOUGH = 0.5  # share of a local crop that must be garment
_RATIO = (3 / 4, 4 / 3)  # width to height of a crop (Szegedy et al. 2015, as in DINO)
TILES = 4  # a side, for `shuffle_tiles`: an image's side must be divisible by it
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def garment_boxes(
    front: torch.Tensor, scale: tuple[float, float], rng: torch.Generator, *, on_garment: bool
) -> torch.Tensor:
    """Random boxes, float32 [B, 4] as (left, top, width, height) in shares of the image.

    `front` is the garment's mask, bool [B, S, S]; `scale` the range of a box's share of the garment's bounding box.
    With `on_garment` a box is drawn up to six times until half of it is garment; otherwise it only has to meet the
    garment's bounding box. Raises ValueError for a scale outside (0, 1].
    """
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale must be within (0, 1] and ordered, is {scale}")
    b, s = len(front), front.shape[-1]
    around = _bounding_boxes(front)  # [B, 4]
    tries = _TRIES if on_garment else 1
    area = _uniform((b, tries), *scale, rng) * (around[:, 2] * around[:, 3])[:, None]
    ratio = torch.exp(_uniform((b, tries), math.log(_RATIO[0]), math.log(_RATIO[1]), rng))
    w = (area * ratio).sqrt().clamp(2 / s, 1.0)
    h = (area / ratio).sqrt().clamp(2 / s, 1.0)
    x = around[:, :1] + _uniform((b, tries), 0, 1, rng) * (around[:, 2:3] - w)
    y = around[:, 1:2] + _uniform((b, tries), 0, 1, rng) * (around[:, 3:4] - h)
    boxes = torch.stack((x.clamp_min(0).minimum(1 - w), y.clamp_min(0).minimum(1 - h), w, h), -1)  # [B, T, 4]
    if not on_garment:
        return boxes[:, 0]
    share = _covered(front, boxes)
    good = share >= _ENOUGH
    first = torch.where(good.any(1), good.to(torch.int8).argmax(1), share.argmax(1))
    return boxes[torch.arange(b), first]


def cut(images: torch.Tensor, boxes: torch.Tensor, size: int, flip: torch.Tensor | None = None) -> torch.Tensor:
    """Boxes of images, resampled bilinearly: float [B, 3, size, size] of float [B, 3, S, S] and boxes [B, 4].

    `flip` bool [B] mirrors left and right.
    """
    left, top, w, h = (boxes[:, i].to(images) for i in range(4))
    sign = torch.ones_like(w) if flip is None else 1.0 - 2.0 * flip.to(w)
    zero = torch.zeros_like(w)
    rows = torch.stack((sign * w, zero, 2 * left + w - 1, zero, h, 2 * top + h - 1), -1).view(-1, 2, 3)
    grid = F.affine_grid(rows, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def without_colour(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Images in which colour tells nothing: brightness, contrast, saturation and hue are drawn anew for each,
    one in five is grey. float [B, 3, S, S] in [0, 1], both ways."""
    b = len(images)

    def factor(low: float, high: float) -> torch.Tensor:
        return _uniform((b,), low, high, rng).to(images)[:, None, None, None]

    luma = torch.tensor(_LUMA).to(images)[None, :, None, None]
    x = images * factor(0.6, 1.4)
    mean = (x * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    x = mean + (x - mean) * factor(0.6, 1.4)
    grey = (x * luma).sum(1, keepdim=True)
    grey_only = (_uniform((b,), 0, 1, rng) < 0.2).to(images)[:, None, None, None]
    x = grey + (x - grey) * factor(0.2, 1.8) * (1.0 - grey_only)
    return torch.einsum("bij,bjhw->bihw", _hue(_uniform((b,), -0.5, 0.5, rng)).to(x), x).clamp(0, 1)


def shuffle_tiles(images: torch.Tensor, chosen: torch.Tensor, rng: torch.Generator, tiles: int = TILES) -> torch.Tensor:
    """Chosen images (bool [B]) cut into tiles x tiles and put together in a random order: fabric without shape.

    The side must be divisible by `tiles`; ValueError else.
    """
    b, c, s, _ = images.shape
    if s % tiles:
        raise ValueError(f"side {s} cannot be cut into {tiles} tiles")
    step = s // tiles
    cells = images.view(b, c, tiles, step, tiles, step).permute(0, 2, 4, 1, 3, 5).reshape(b, tiles * tiles, -1)
    order = torch.rand(b, tiles * tiles, generator=rng).argsort(1)
    still = torch.arange(tiles * tiles).expand(b, -1)
    order = torch.where(chosen[:, None].cpu(), order, still).to(images.device)
    cells = cells.gather(1, order[..., None].expand(-1, -1, cells.shape[-1]))
    return cells.view(b, tiles, tiles, c, step, step).permute(0, 3, 1, 4, 2, 5).reshape(b, c, s, s)


def garment(images: torch.Tensor) -> torch.Tensor:
    """The garment's mask, bool [B, S, S] on the CPU, of uint8 [B, 3, S, S]: what `colour.foreground` finds."""
    return foreground(images).cpu()


def _bounding_boxes(front: torch.Tensor) -> torch.Tensor:
    """float32 [B, 4] in shares; `foreground` never gives an empty mask, an empty one counts as the whole image."""
    s = front.shape[-1]
    found = []
    for line in (front.any(1), front.any(2)):  # columns, then rows
        first = line.to(torch.int8).argmax(1)
        last = s - line.flip(1).to(torch.int8).argmax(1)
        found.append((first / s, (last - first) / s))
    (x, w), (y, h) = found
    return torch.stack((x, y, w, h), -1).to(torch.float32)


def _covered(front: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Share [B, T] of each box that is garment, by an integral image."""
    b, s = len(front), front.shape[-1]
    table = F.pad(front.to(torch.float32).cumsum(1).cumsum(2), (1, 0, 1, 0))
    x0, y0 = (boxes[..., 0] * s).long(), (boxes[..., 1] * s).long()
    x1 = ((boxes[..., 0] + boxes[..., 2]) * s).round().long().clamp_max(s).maximum(x0 + 1)
    y1 = ((boxes[..., 1] + boxes[..., 3]) * s).round().long().clamp_max(s).maximum(y0 + 1)
    n = torch.arange(b)[:, None]
    inside = table[n, y1, x1] - table[n, y0, x1] - table[n, y1, x0] + table[n, y0, x0]
    return inside / ((x1 - x0) * (y1 - y0))


def _hue(turn: torch.Tensor) -> torch.Tensor:
    """RGB matrices [B, 3, 3] that turn the hue by `turn` [B] of a full circle, about the grey axis."""
    angle = turn * 2 * math.pi
    cos, sin = torch.cos(angle), torch.sin(angle)
    third, root = 1 / 3, math.sqrt(1 / 3)
    same, plus, minus = cos + (1 - cos) * third, (1 - cos) * third - root * sin, (1 - cos) * third + root * sin
    return torch.stack((same, plus, minus, minus, same, plus, plus, minus, same), -1).view(-1, 3, 3)


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)
