"""Hosts: how many requests each takes at once, when it asked for a pause, whether it is down."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from jobs.images.source import fetch_fault

T = TypeVar("T")
R = TypeVar("R")

# A host is down after this many faults in a row over at least this long. Then one request in each PROBE_S tries it.
DOWN_FAULTS, DOWN_S, PROBE_S = 20, 60.0, 30.0
MAX_PAUSE_S = 60.0  # a Retry-After beyond this is a failure of tonight


class Host:
    """One host's state; called from all threads."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self._room = threading.Semaphore(limit)
        self._lock = threading.Lock()
        self._resume_at = 0.0
        self._faults, self._since, self._probe_at = 0, 0.0, 0.0

    @contextmanager
    def slot(self, until: float) -> Iterator[None]:
        """Waits for a place among the requests at once. Raises FetchError: the host is down, or time is up."""
        self._refuse_if_down()
        while (wait := self._resume_at - time.monotonic()) > 0:
            if time.monotonic() + wait > until:
                raise fetch_fault("throttled", f"{self.name} asks for a pause that outlasts the time there is")
            time.sleep(min(wait, 1.0))
        if not self._room.acquire(timeout=min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX)):
            raise fetch_fault("deadline", f"{self.name}: no connection was free in time")
        try:
            yield
        finally:
            self._room.release()

    def pause(self, seconds: float) -> None:
        """All requests to this host wait, as it asked for (Retry-After)."""
        self._resume_at = max(self._resume_at, time.monotonic() + min(seconds, MAX_PAUSE_S))

    def answered(self) -> None:
        self._faults = 0

    def failed(self) -> None:
        with self._lock:
            if not self._faults:
                self._since = time.monotonic()
            self._faults += 1

    def _refuse_if_down(self) -> None:
        now = time.monotonic()
        with self._lock:
            if self._faults < DOWN_FAULTS or now - self._since < DOWN_S:
                return
            if now >= self._probe_at:
                self._probe_at = now + PROBE_S
                return
            down = now - self._since
        raise fetch_fault("deadline", f"{self.name} has not answered for {down:,.0f} s; it is hardly asked any more")


class Hosts:
    def __init__(self, limit: int) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._hosts: dict[str, Host] = {}

    def of(self, name: str) -> Host:
        with self._lock:
            return self._hosts.setdefault(name, Host(name, self._limit))


def by_lane(
    items: Sequence[T], lane: Callable[[T], str], work: Callable[[T], R], threads: int, per_lane: int
) -> list[R]:
    """`work` of each item, in their order, at most `per_lane` of one lane at once.

    No thread waits for a full lane while another lane has something to do. The first exception ends it.
    """
    waiting: dict[str, deque[int]] = {}
    for n, item in enumerate(items):
        waiting.setdefault(lane(item), deque()).append(n)
    # A lane stands here once for each place it has free.
    ready = deque(name for place in range(per_lane) for name, q in waiting.items() if len(q) > place)
    out: dict[int, R] = {}
    faults: list[BaseException] = []

    def take() -> None:
        while not faults:
            try:
                name = ready.popleft()  # deque's ends are safe between threads
            except IndexError:
                return  # every free place is taken by a thread that goes on with it
            try:
                n = waiting[name].popleft()
            except IndexError:
                continue
            try:
                out[n] = work(items[n])
            except BaseException as e:
                faults.append(e)
            ready.append(name)

    crew = [
        threading.Thread(target=take, name=f"list-{n}", daemon=True)
        for n in range(min(threads, sum(min(per_lane, len(q)) for q in waiting.values())))
    ]
    for t in crew:
        t.start()
    for t in crew:
        t.join()
    if faults:
        raise faults[0]
    return [out[n] for n in range(len(items))]
