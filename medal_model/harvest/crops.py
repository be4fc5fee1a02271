"""Crops on a white square, as near to a pack shot as boxes alone allow.

Items of one photo share its street, its light, and pixels where boxes overlap. A model could tell what was worn
together by that and learn nothing of clothes; so what is not the item can be made white before the crop is cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from medal_model.harvest.config import HarvestConfig
from medal_model.harvest.detections import Box, UInt8

Mask = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float64]
_BITS = 4  # a channel, of the colour counts: 16 levels keep a photo's few thousand pixels from being too thin
_RING = 0.4  # of the box's longer side, around it: where its background is looked at
_CORE = 0.7  # of the box's width and height: an ellipse that is taken for the item
_BLUR = 2  # pixels: what surrounds a pixel counts as well
_SURE = 0.6  # share of background above which a pixel goes


def cut(pixels: UInt8, box: Box, others: Sequence[Box], config: HarvestConfig) -> UInt8:
    """One item's crop, as the rules want it: uint8 [h, w, 3]. `others` are the photo's items, with or without it."""
    photo = pixels
    if config.background == "white":
        photo = without_background(photo, box, others)
    if config.others == "white":
        photo = without_others(photo, box, others)
    return padded(photo, box, config.padding)


def padded(pixels: UInt8, box: Box, padding: float) -> UInt8:
    """The box with `padding` of its longer side around it, as far as the photo reaches: uint8 [h, w, 3]."""
    rows, columns = _window(pixels, box, padding)
    return np.ascontiguousarray(pixels[rows, columns])


def white_square(crop: UInt8) -> UInt8:
    """The crop in the middle of a white square of its longer side."""
    h, w = crop.shape[:2]
    side = max(h, w)
    square = np.full((side, side, 3), 255, dtype=np.uint8)
    top, left = (side - h) // 2, (side - w) // 2
    square[top : top + h, left : left + w] = crop
    return square


def without_others(pixels: UInt8, box: Box, others: Sequence[Box]) -> UInt8:
    """The photo with every smaller box among `others` white: what is in front is smaller, as a rule."""
    smaller = [o for o in others if o.area < box.area]
    if not smaller:
        return pixels
    out = pixels.copy()
    for o in smaller:
        out[_window(pixels, o, 0.0)] = 255
    return out


def without_background(pixels: UInt8, box: Box, all_boxes: Sequence[Box]) -> UInt8:
    """The photo with white where its colour is that of the surroundings of `box` rather than of its middle.

    Surroundings: a ring around the box, without any of `all_boxes`. A pixel of the box goes where, blurred by
    `_BLUR`, its colour's share of background is above `_SURE`. Returns the photo as it is where the ring is empty.
    """
    window = _window(pixels, box, _RING)
    part = pixels[window]
    top, left = window[0].start, window[1].start
    bins = (part >> (8 - _BITS)).astype(np.int64)
    colour = (bins[..., 0] << 2 * _BITS) + (bins[..., 1] << _BITS) + bins[..., 2]
    outside = np.ones(colour.shape, dtype=bool)
    for b in all_boxes:
        rows, columns = _window(pixels, b, 0.0)
        rows, columns = (slice(max(0, s.start - o), max(0, s.stop - o)) for s, o in ((rows, top), (columns, left)))
        outside[rows, columns] = False
    core = _ellipse(colour.shape, box, top, left)
    if not outside.any() or not core.any():
        return pixels
    back, item = _colours(colour[outside]), _colours(colour[core])
    share = back / np.maximum(back + item, 1e-12)
    grey = Image.fromarray(np.rint(share[colour] * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(_BLUR))
    out = pixels.copy()
    out[window][np.asarray(grey) > _SURE * 255] = 255
    return out


def _colours(values: npt.NDArray[np.int64]) -> Shares:
    """Shares of colours [4096], each spread over its neighbours in RGB."""
    n = 1 << _BITS
    counts = np.bincount(values, minlength=n**3).reshape(n, n, n).astype(np.float64)
    for axis in range(3):
        wide = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        low, high = np.take(wide, range(n), axis), np.take(wide, range(2, n + 2), axis)
        counts = (low + 2 * counts + high) / 4
    return np.asarray(counts.ravel() / counts.sum())


def _ellipse(shape: tuple[int, ...], box: Box, top: int, left: int) -> Mask:
    y, x = np.ogrid[: shape[0], : shape[1]]
    dy = (y + top + 0.5 - (box.y + box.h / 2)) / (box.h / 2 * _CORE)
    dx = (x + left + 0.5 - (box.x + box.w / 2)) / (box.w / 2 * _CORE)
    return np.asarray(dy**2 + dx**2 <= 1)


def _window(pixels: UInt8, box: Box, padding: float) -> tuple[slice, slice]:
    """Rows and columns of a box with padding, in whole pixels, inside the photo."""
    height, width = pixels.shape[:2]
    by = padding * max(box.w, box.h)
    b = Box(box.x - by, box.y - by, box.w + 2 * by, box.h + 2 * by).clipped(width, height)
    return (
        slice(int(np.floor(b.y)), int(np.ceil(b.y + b.h))), slice(int(np.floor(b.x)), int(np.ceil(b.x + b.w))),
    )  # fmt: skip
