"""Fits side by side: one at a time in this process, or several in processes of their own; and threads of a fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """Takes `jobs` fits at a time. Every fit runs on one thread and draws from its own seed: what it gives does not
    depend on `jobs`. One at a time they run when their results are asked for. Where one fails, those that have not
    begun are dropped."""
    pool = _Here() if jobs == 1 else _processes(jobs)
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def on_threads(many: int | None) -> Iterator[int]:
    """Let torch use that many threads (None: as many as it does), and as many as before afterwards; gives their
    number."""
    before = torch.get_num_threads()
    if many is not None:
        torch.set_num_threads(many)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def timed(work: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What `work` gives, and its seconds."""
    begun = time.monotonic()
    return work(*args), time.monotonic() - begun


def _processes(jobs: int) -> Executor:
    return ProcessPoolExecutor(jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))


class _Here(Executor):
    """Runs what is submitted in this process, once its result is asked for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return _Later(partial(fn, *args, **kwargs))


class _Later(Future[Any]):
    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.set_result(self._work())
        return super().result(timeout)
