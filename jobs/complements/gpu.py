"""FAISS on a GPU: it proposes where `lists.engine` is `faiss` and FAISS sees a card, and the lists stay the same.

The margin that makes exact re-scoring safe (`score.proposal_error`) holds for float32 sums in any order. A card may be
set to do less, so each worker first checks its own: a few hundred queries against exact sums. Where a product is
further off than the margin, or anything was missed, the worker searches on the CPU and says so; likewise after an error
of the card (out of memory, say). Nothing in between: a card is either within the margin or not used.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from jobs.complements.score import Float32, Float64, Int64, proposal_error, scaled_base, scaled_queries

Knn = Callable[[Float32, Float32, int], tuple[Float32, Int64]]  # queries, base rows, k → values and rows, descending
MOST = 2048  # the largest k of FAISS's selection on a GPU
# Memory on the card is that of a CUDA context (some hundred MiB), this scratch, one base block and one query block, for
# each worker process; a search that needs more scratch is cut into tiles by FAISS.
SCRATCH = 256 << 20
_QUERIES, _ROWS, _CHECKED = 300, 5000, (1, 80, 1024)  # of the check, and the k it is made with


@dataclass
class Card:
    """A GPU in use by this process, until it fails."""

    knn: Knn
    name: str
    log: Callable[[str], None]
    _alone: threading.Lock = field(default_factory=threading.Lock)
    _broken: bool = False

    def search(self, q: Float32, block: Float32, k: int) -> tuple[Float32, Int64] | None:
        """As Knn; None where the CPU has to search."""
        if self._broken or k > MOST:
            return None
        try:
            with self._alone:  # FAISS's resources of a GPU are for one thread
                return self.knn(q, block, k)
        except RuntimeError as e:  # FAISS's exceptions, CUDA's among them
            self._broken = True
            self.log(f"complements: {self.name} failed ({_line(e)}); this worker goes on, on the CPU")
            return None


_card: list[Card | None] = []  # of this process, once it was looked for
_looking = threading.Lock()


def card() -> Card | None:
    """The GPU of this process: found, checked and kept at the first call; None where the CPU searches."""
    with _looking:
        if not _card:
            from jobs.stage import log

            faiss: Any = import_module("faiss")
            # faiss-cpu has no GPUs, and may not have the function.
            count = int(getattr(faiss, "get_num_gpus", int)())
            _card.append(start(count, lambda device: faiss_knn(faiss, device), log))
    return _card[0]


def start(count: int, make: Callable[[int], Knn], log: Callable[[str], None]) -> Card | None:
    """A checked card out of `count`; None, with a line in the log, where there is one and it cannot be used."""
    if not count:
        return None
    device = device_of(count)
    name = f"FAISS on GPU {device}"
    try:
        knn = make(device)
        why = flaw(knn)
    except RuntimeError as e:
        why = _line(e)
    if why:
        log(f"complements: {name} is not used: {why}; this worker searches on the CPU, with the same lists")
        return None
    log(f"complements: {name}")
    return Card(knn, name, log)


def faiss_knn(faiss: Any, device: int) -> Knn:
    """FAISS's brute force on a card: float32 throughout, no TF32, whatever the machine's default is."""
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # read by cuBLAS when its handle is made, below
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH)

    def knn(q: Float32, block: Float32, k: int) -> tuple[Float32, Int64]:
        value, rows = faiss.knn_gpu(
            resources, np.ascontiguousarray(q), np.ascontiguousarray(block), k,
            metric=faiss.METRIC_INNER_PRODUCT, device=device, use_cuvs=False,
        )  # fmt: skip
        return value, rows

    return knn


def device_of(count: int) -> int:
    """Which of `count` cards this process takes: the one Spark gave its task where Spark schedules GPUs, else they are
    dealt by the number of the Spark task; the first outside Spark."""
    spark: Any = sys.modules.get("pyspark")  # loaded wherever a Spark task runs
    task = spark.TaskContext.get() if spark is not None else None
    if task is None:
        return 0
    given = task.resources().get("gpu")
    if given is None:
        return int(task.partitionId()) % count
    at = str(given.addresses[0])
    return int(at) if at.isdigit() and int(at) < count else 0  # else it sees that one alone, as number 0


def flaw(knn: Knn) -> str | None:
    """What keeps a search from proposing: a sentence; None where it is within the margin.

    Drawn queries and rows like real ones, crowds of near ties among them, compared with sums that are exact.
    """
    q, y = _drawn()
    sums: Float64 = q @ y.astype(np.float64).T
    error = proposal_error(q, float(np.linalg.norm(y.astype(np.float64), axis=1).max()))[:, None]
    for k in _CHECKED:
        value, rows = knn(q.astype(np.float32), y, k)
        if value.shape != (len(q), k) or rows.shape != value.shape:
            return f"k = {k} gives {value.shape}"
        if rows.min() < 0 or rows.max() >= len(y) or (k > 1 and (np.diff(np.sort(rows, axis=1), axis=1) == 0).any()):
            return f"k = {k} gives rows that are none, or some twice"
        if not (np.diff(value, axis=1) <= 0).all():  # false for NaN as well
            return f"k = {k} gives values out of order"
        off = np.abs(value - np.take_along_axis(sums, rows, axis=1)) / error
        if not off.max() <= 1:
            return f"its products are off by {off.max():.1f} times the margin of float32"
        rest = sums.copy()
        np.put_along_axis(rest, rows, -np.inf, axis=1)
        if not (rest.max(axis=1, keepdims=True) <= value[:, -1:] + error).all():
            return f"k = {k} misses rows"
    return None


def _drawn() -> tuple[Float64, Float32]:
    """q [N, 128] and y' [M, 128] of the rule."""
    rng = np.random.default_rng(20)
    styles = rng.normal(size=(40, 128))

    def unit(a: np.ndarray[Any, Any]) -> Float32:
        out: Float32 = (a / np.linalg.norm(a, axis=1, keepdims=True)).astype(np.float32)
        return out

    y = unit(styles[rng.integers(0, 40, _ROWS)] + 0.7 * rng.normal(size=(_ROWS, 128)))
    y[: _ROWS // 4] = unit(y[:1] + 1e-6 * rng.normal(size=(_ROWS // 4, 128)))
    x = unit(styles[rng.integers(0, 40, _QUERIES)] + 0.7 * rng.normal(size=(_QUERIES, 128)))
    x[: _QUERIES // 4] = y[rng.integers(0, _ROWS, _QUERIES // 4)]
    w = np.log1p(np.exp(rng.normal(0.5, 1.0, 128)))
    return scaled_queries((w / w.mean()).astype(np.float32), x), scaled_base(y)


def _line(e: Exception) -> str:
    text = " ".join(str(e).split())
    return text if len(text) <= 200 else text[:200] + "…"
