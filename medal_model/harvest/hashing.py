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
    """Hashes with names; finds the nearest within a distance in bits. A distance below 0 finds nothing."""

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._names: list[str] = []
        self._hashes: npt.NDArray[np.uint64] = np.empty(64, dtype=np.uint64)

    def like(self, value: int) -> str | None:
        """Name of the nearest one seen within the distance, the first of equals; None where there is none."""
        if self._distance < 0 or not self._names:
            return None
        differing = np.bitwise_xor(self._hashes[: len(self._names)], np.uint64(value))
        bits = np.unpackbits(differing.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
        at = int(bits.argmin())
        return self._names[at] if bits[at] <= self._distance else None

    def add(self, value: int, name: str) -> None:
        if len(self._names) == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[len(self._names)] = value
        self._names.append(name)
