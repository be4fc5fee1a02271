"""Fits side by side: one at a time in this process, or several in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch


def workers(jobs: int) -> Executor:
    """Takes `jobs` fits at a time. Every fit runs on one thread and draws from its own seed: what it gives does not
    depend on `jobs`."""
    if jobs == 1:
        return _Here()
    return ProcessPoolExecutor(jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))


def timed(work: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What `work` gives, and its seconds."""
    begun = time.monotonic()
    return work(*args), time.monotonic() - begun


class _Here(Executor):
    """Runs what is submitted at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done
