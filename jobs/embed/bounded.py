"""A queue between two stages that holds so much and no more, and knows how full it was."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The other end was stopped; the thread that meets this ends."""


class Bounded(Generic[T]):
    """First in, first out, limited by count and by weight (bytes). One entry always fits, whatever its weight."""

    def __init__(self, most: int, most_weight: float = float("inf")) -> None:
        self._most, self._most_weight = most, most_weight
        self._held: deque[tuple[T, float]] = deque()
        self._weight = 0.0
        self._finished = self._stopped = False
        self._change = threading.Condition()
        self._since, self._area, self._begun = time.monotonic(), 0.0, time.monotonic()

    def put(self, entry: T, weight: float = 0.0) -> None:
        """Waits for room. Raises Closed after `stop`."""
        with self._change:
            while not self._stopped and self._held and not self._fits(weight):
                self._change.wait()
            if self._stopped:
                raise Closed
            self._measure()
            self._held.append((entry, weight))
            self._weight += weight
            self._change.notify_all()

    def take(self, n: int = 1) -> list[T]:
        """Exactly `n` entries; fewer, down to none, only once the queue is finished. Raises Closed after `stop`.

        `n` must not be more than the queue holds.
        """
        with self._change:
            while not self._stopped and not self._finished and len(self._held) < n:
                self._change.wait()
            if self._stopped:
                raise Closed
            self._measure()
            some = [self._held.popleft() for _ in range(min(n, len(self._held)))]
            self._weight -= sum(w for _, w in some)
            self._change.notify_all()
            return [entry for entry, _ in some]

    def ready(self, n: int) -> bool:
        """Would `take(n)` come back at once with `n` entries?"""
        with self._change:
            return len(self._held) >= n

    def finish(self) -> None:
        """Nothing more comes: takers get what is left, then nothing."""
        with self._change:
            self._finished = True
            self._change.notify_all()

    def stop(self) -> None:
        """Give up: whoever waits here is woken with Closed."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def fill(self) -> float:
        """Mean share of its room that was taken, over time: of its places or its weight, whichever was fuller."""
        with self._change:
            self._measure()
            return self._area / max(1e-9, self._since - self._begun)

    def measure_anew(self) -> None:
        """`fill` is of the time from now on."""
        with self._change:
            self._since, self._area, self._begun = time.monotonic(), 0.0, time.monotonic()

    def _fits(self, weight: float) -> bool:
        return len(self._held) < self._most and self._weight + weight <= self._most_weight

    def _measure(self) -> None:
        now = time.monotonic()
        full = max(len(self._held) / self._most, min(1.0, self._weight / self._most_weight))
        self._area += full * (now - self._since)
        self._since = now
