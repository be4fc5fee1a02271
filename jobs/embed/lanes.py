"""How the pipeline's network threads hand batches over: at once, or so that a device is never waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


class Lane(Protocol):
    """Of one thread: `buffer`, fill it, `submit`, again; `flush` where no batch is at hand. Vectors come in order."""

    def buffer(self, shape: tuple[int, ...]) -> UInt8:
        """Uint8 [B, *shape] for the next batch, of one shape always; waits until it is free."""
        ...

    def submit(self) -> list[Float32]:
        """Start the batch that lies in the buffer; vectors [B, D] of those batches that have come back."""
        ...

    def flush(self) -> list[Float32]:
        """Wait for all that was submitted."""
        ...


class AtOnce:
    """Each batch is embedded where it is submitted."""

    def __init__(self, embed: Callable[[UInt8], Float32], batch: int) -> None:
        self._embed, self._batch = embed, batch
        self._buffer: UInt8 | None = None

    def buffer(self, shape: tuple[int, ...]) -> UInt8:
        if self._buffer is None:  # the colours of a pixel side by side, as they come and as they are read
            c, h, w = shape
            self._buffer = np.zeros((self._batch, h, w, c), np.uint8).transpose(0, 3, 1, 2)
        return self._buffer

    def submit(self) -> list[Float32]:
        assert self._buffer is not None
        return [self._embed(self._buffer)]

    def flush(self) -> list[Float32]:
        return []
