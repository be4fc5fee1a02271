"""Batches through two pinned buffers onto a GPU; their vectors stay there and come back in blocks.

```
 host[0] ─┐ stream in       ┌─ there[0] ─┐ stream compute             ┌─ vectors[0] ─┐ stream out
 host[1] ─┴─ uint8 pixels ──┴─ there[1] ─┴─ normalise, count, network ┴─ vectors[1] ─┴─ a block at a time ──► host
```
The host fills one buffer while the device copies the other and computes the one before. What may run when is said by
marks alone, so the tests check the order with streams that run as late, or as early, as the marks let them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch

from jobs.embed.lanes import Float32, UInt8

BLOCK = 8  # batches: a copy and a wait of the host for every eighth batch, and little is lost where a run is killed

Stream = Literal["in", "compute", "out"]


class Streams(Protocol):
    """Three queues of work; each runs its own in order."""

    def run(self, stream: Stream, work: Callable[[], object], after: Sequence[Any]) -> Any:
        """Queue `work` to run once all marks of `after` are reached; gives the mark of its end."""
        ...

    def wait(self, mark: Any) -> None:
        """The host waits until a mark is reached."""
        ...


class Serial:
    """All at once, in the order it is asked for: of a device that has no streams."""

    def run(self, stream: Stream, work: Callable[[], object], after: Sequence[Any]) -> Any:
        work()
        return None

    def wait(self, mark: Any) -> None:
        pass


class CudaStreams:
    """Streams of one GPU. The network runs on the thread's current one, where its weights were put."""

    def __init__(self, device: torch.device) -> None:
        self._streams = {
            "in": torch.cuda.Stream(device),  # type: ignore[no-untyped-call]
            "compute": torch.cuda.current_stream(device),
            "out": torch.cuda.Stream(device),  # type: ignore[no-untyped-call]
        }
        torch.cuda.synchronize(device)

    def run(self, stream: Stream, work: Callable[[], object], after: Sequence[Any]) -> Any:
        own = self._streams[stream]
        for mark in after:
            own.wait_event(mark)
        with torch.cuda.stream(own):
            work()
        mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
        mark.record(own)
        return mark

    def wait(self, mark: Any) -> None:
        mark.synchronize()


class Blocks:
    """A `Lane` of `network`: uint8 [B, 3, S, S] on `device` to float32 [B, D] there."""

    def __init__(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        check: Callable[[torch.Tensor], None],
        streams: Streams,
        device: torch.device,
        batch: int,
        dim: int,
        block: int = BLOCK,
    ) -> None:
        """`check` is given the vectors of a block on the host."""
        self._network, self._check, self._streams, self._batch, self._block = network, check, streams, batch, block
        self._device, self._pin = device, device.type == "cuda"
        rows = batch * block
        self._vectors = [torch.zeros(rows, dim, device=device) for _ in range(2)]
        self._back = [torch.zeros(rows, dim, pin_memory=self._pin) for _ in range(2)]
        self._host: list[torch.Tensor] = []
        self._there: list[torch.Tensor] = []
        self._arrived: list[list[Any]] = [[], []]  # the mark after which a host buffer may be filled again
        self._used: list[list[Any]] = [[], []]  # ... and after which the device's may
        self._started = self._held = self._side = 0
        self._coming: tuple[int, int, Any] | None = None  # side, batches, mark of a block on its way

    def buffer(self, shape: tuple[int, ...]) -> UInt8:
        if not self._host:
            size = (self._batch, *shape)
            self._host = [torch.zeros(size, dtype=torch.uint8, pin_memory=self._pin) for _ in range(2)]
            self._there = [torch.zeros(size, dtype=torch.uint8, device=self._device) for _ in range(2)]
        slot = self._started % 2
        for mark in self._arrived[slot]:
            self._streams.wait(mark)
        pixels: UInt8 = self._host[slot].numpy()
        return pixels

    def submit(self) -> list[Float32]:
        slot = self._started % 2
        host, there = self._host[slot], self._there[slot]
        vectors = self._vectors[self._side][self._held * self._batch : (self._held + 1) * self._batch]
        arrived = self._streams.run("in", lambda: there.copy_(host, non_blocking=True), self._used[slot])
        used = self._streams.run("compute", lambda: vectors.copy_(self._network(there)), [arrived])
        self._arrived[slot], self._used[slot] = [arrived], [used]
        self._started += 1
        self._held += 1
        return self._send(used) if self._held == self._block else []

    def flush(self) -> list[Float32]:
        if not self._held:
            return self._receive()
        (last,) = self._used[(self._started - 1) % 2]
        return self._send(last) + self._receive()

    def _send(self, last: Any) -> list[Float32]:
        """Let the block come whose last batch ends at `last`; gives the one before it, whose place the next needs."""
        before = self._receive()
        side, rows = self._side, self._held * self._batch
        back, vectors = self._back[side][:rows], self._vectors[side][:rows]
        mark = self._streams.run("out", lambda: back.copy_(vectors, non_blocking=True), [last])
        self._coming = (side, self._held, mark)
        self._side, self._held = 1 - side, 0
        return before

    def _receive(self) -> list[Float32]:
        if self._coming is None:
            return []
        side, batches, mark = self._coming
        self._coming = None
        self._streams.wait(mark)
        z = self._back[side][: batches * self._batch].clone()
        self._check(z)
        return np.split(z.numpy(), batches)
