"""Perceptual hash (dHash: signs of horizontal differences on a small grey image) and a store of those seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from medal_model.harvest.detections import UInt8


def difference_hash(pixels: UInt8) -> int:
    """64 bits of an RGB image [H, W, 3]: is each of 8 x 8 cells darker than its right neighbour?"""
    grey = Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.int16)
    bits = (values[:, :-1] < values[:, 1:]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


class SeenHashes:
    """Hashes seen, and whether one like another is among them: within a distance in bits, never where that is below
    0."""

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._count = 0
        self._hashes: npt.NDArray[np.uint64] = np.empty(64, dtype=np.uint64)

    def has_like(self, value: int) -> bool:
        differing = np.bitwise_count(self._hashes[: self._count] ^ np.uint64(value))
        return bool((differing <= self._distance).any())

    def add(self, value: int) -> None:
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[self._count] = value
        self._count += 1
