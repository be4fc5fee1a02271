"""Trying again: full-jitter back-off, within the time one image and one stage have."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jobs.images.source import PASSING, FetchError, fetch_fault

T = TypeVar("T")

# Wait before try n + 1: uniform in 0..min(cap, base * 2^n); spreads the tries of many threads best
# (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
BASE_S, CAP_S = 0.5, 10.0


class Asked(FetchError):
    """A fault whose server said when to ask again."""

    def __init__(self, kind: str, message: str, after_s: float) -> None:
        super().__init__(kind, message, passing=PASSING[kind])
        self.after_s = after_s


@dataclass
class Patience:
    """The time one image has. It runs from the first free connection on: a full queue is no fault of an image."""

    item_s: float
    stage_until: float
    until: float = math.inf

    def begin(self) -> None:
        if self.until == math.inf:
            self.until = min(time.monotonic() + self.item_s, self.stage_until)

    def last(self) -> float:
        return min(self.until, self.stage_until)


def patiently(ask: Callable[[], T], patience: Patience, tries: int) -> T:
    """`ask` until it gives something, a fault does not pass, or tries or time are used up. Raises FetchError."""
    for n in range(tries):
        if time.monotonic() >= patience.stage_until:
            raise fetch_fault("deadline", "the time for images (images.stage_s) is over")
        try:
            return ask()
        except FetchError as e:
            wait = random.uniform(0, min(CAP_S, BASE_S * 2**n))
            if isinstance(e, Asked):
                wait = max(wait, e.after_s)
            out_of_time = time.monotonic() + wait >= patience.last()
            if not e.passing or e.kind == "deadline" or n + 1 == tries or out_of_time:
                raise
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")
