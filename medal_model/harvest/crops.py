"""Crops on a white square."""

from __future__ import annotations

import numpy as np

from medal_model.harvest.detections import Box, UInt8


def padded(pixels: UInt8, box: Box, padding: float) -> UInt8:
    """The box with `padding` of its longer side around it, as far as the photo reaches: uint8 [h, w, 3]."""
    height, width = pixels.shape[:2]
    by = padding * max(box.w, box.h)
    inner = Box(box.x - by, box.y - by, box.w + 2 * by, box.h + 2 * by).clipped(width, height)
    left, top = int(np.floor(inner.x)), int(np.floor(inner.y))
    right, bottom = int(np.ceil(inner.x + inner.w)), int(np.ceil(inner.y + inner.h))
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def white_square(crop: UInt8) -> UInt8:
    """The crop in the middle of a white square of its longer side."""
    h, w = crop.shape[:2]
    side = max(h, w)
    square = np.full((side, side, 3), 255, dtype=np.uint8)
    top, left = (side - h) // 2, (side - w) // 2
    square[top : top + h, left : left + w] = crop
    return square
