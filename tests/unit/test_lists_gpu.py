"""FAISS on a GPU: checked before it is used, left where it fails, and never with other lists.

What the card does is a function of queries, rows and k; here numpy plays it, in float32 and in the lesser formats that
must not pass. The last tests need a card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from lists_world import draw_weights, unit

from jobs.complements import gpu
from jobs.complements.gpu import Card, Knn, device_of, flaw, start
from jobs.complements.score import scaled_base, scaled_queries
from jobs.complements.search import Base, Queries, neighbours, propose

F32 = np.ndarray[Any, np.dtype[np.float32]]


def knn_of(products: Callable[[F32, F32], F32]) -> Knn:
    """A search whose products are these."""

    def knn(q: F32, block: F32, k: int) -> tuple[Any, Any]:
        p = products(q, block).astype(np.float32)
        rows = np.argsort(-p, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(p, rows, axis=1), rows.astype(np.int64)

    return knn


def mantissa(a: F32, bits: int) -> F32:
    """Rounded to so many bits behind the point, as TF32 (10) and bfloat16 (7) have them."""
    drop = 23 - bits
    whole = a.view(np.int32).astype(np.int64)
    whole = (whole + (1 << (drop - 1))) >> drop << drop
    return whole.astype(np.int32).view(np.float32)


def forward(q: F32, y: F32) -> F32:
    return q @ y.T


def backward(q: F32, y: F32) -> F32:
    """Another order of summation, term by term."""
    out = np.zeros((len(q), len(y)), dtype=np.float32)
    for d in range(127, -1, -1):
        out += q[:, d : d + 1] * y[None, :, d]
    return out


@pytest.mark.parametrize("products", [forward, backward])
def test_float32_in_any_order_is_within_the_margin(products: Any) -> None:
    assert flaw(knn_of(products)) is None


@pytest.mark.parametrize(
    ("knn", "why"),
    [
        (knn_of(lambda q, y: forward(mantissa(q, 10), mantissa(y, 10))), "times the margin of float32"),
        (knn_of(lambda q, y: forward(mantissa(q, 7), mantissa(y, 7))), "times the margin of float32"),
        (knn_of(lambda q, y: forward(mantissa(q, 15), mantissa(y, 15))), "times the margin of float32"),
        (knn_of(lambda q, y: mantissa(forward(q, y), 12)), "times the margin of float32"),
        (knn_of(lambda q, y: np.full((len(q), len(y)), np.nan, np.float32)), "off by nan times"),
        (lambda q, y, k: tuple(a[:, 1:] for a in knn_of(forward)(q, y, k + 1)), "k = 1 misses rows"),
        (lambda q, y, k: tuple(a[:, ::-1] for a in knn_of(forward)(q, y, k)), "k = 80 gives values out of order"),
        (lambda q, y, k: (knn_of(forward)(q, y, k)[0], np.full((len(q), k), -1)), "rows that are none"),
        (lambda q, y, k: tuple(a[:, [0] * k] for a in knn_of(forward)(q, y, k)), "some twice"),
        (lambda q, y, k: knn_of(forward)(q, y, min(k, 1000)), r"k = 1024 gives (300, 1000)"),
    ],
)
def test_a_search_that_is_not_is_told(knn: Any, why: str) -> None:
    assert why in (flaw(knn) or "nothing")


@pytest.fixture
def said() -> list[str]:
    return []


def test_no_card_no_word(said: list[str]) -> None:
    assert start(0, lambda device: knn_of(forward), said.append) is None
    assert said == []


def test_a_card_in_order_is_used(said: list[str]) -> None:
    found = start(2, lambda device: knn_of(forward), said.append)
    assert found is not None
    assert said == ["complements: FAISS on GPU 0"]


def _no_memory(*_: Any) -> Any:
    raise RuntimeError("Error in void faiss::gpu::x\n at y.cu:1: Error: 'err == cudaSuccess' failed: out of memory")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda device: knn_of(lambda q, y: forward(mantissa(q, 10), mantissa(y, 10))), "times the margin"),
        (lambda device: _no_memory, "out of memory"),
        (_no_memory, "out of memory"),
    ],
)
def test_a_card_that_cannot_be_used_is_told_and_left(make: Any, why: str, said: list[str]) -> None:
    assert start(1, make, said.append) is None
    (line,) = said
    assert line.startswith("complements: FAISS on GPU 0 is not used: ")
    assert why in line
    assert "\n" not in line
    assert line.endswith("this worker searches on the CPU, with the same lists")


# --- in the search ----------------------------------------------------------------------------------------------


@pytest.fixture
def installed() -> Iterator[Callable[[Knn], list[str]]]:
    """Gives this process a card, and the lines it logs."""
    before = list(gpu._card)

    def install(knn: Knn) -> list[str]:
        said: list[str] = []
        gpu._card[:] = [Card(knn, "FAISS on GPU 0", said.append)]
        return said

    yield install
    gpu._card[:] = before


def world(n: int = 900) -> tuple[Queries, Base]:
    rng = np.random.default_rng(4)
    y = unit(rng.normal(size=(n, 128)))
    y[: n // 3] = y[0]
    y[: n // 3, 0] += rng.permutation(n // 3).astype(np.float32) * np.float32(2**-20)  # crowds of near ties
    x = unit(rng.normal(size=(50, 128)))
    base = Base.of(np.arange(n), scaled_base(y), np.arange(n) // 2, np.ones(n, dtype=bool))
    return Queries(scaled_queries(draw_weights()("tops", "shoes"), x), np.arange(50)), base


@pytest.mark.parametrize("base_block", [7, 100, 65536])
def test_lists_are_those_of_the_cpu_whatever_the_blocks(installed: Any, base_block: int) -> None:
    queries, base = world()
    calls = []

    def knn(q: Any, block: Any, k: int) -> Any:
        calls.append(len(block))
        return knn_of(backward)(q, block, k)

    said = installed(knn)
    got, want = neighbours(queries, base, 24, base_block, "faiss"), neighbours(queries, base, 24, base_block, "blas")
    for name in ("rows", "score", "visual", "horizon"):
        assert np.array_equal(getattr(got, name), getattr(want, name)), name
    assert (sum(calls), max(calls)) == (900, min(900, base_block))
    assert said == []


def test_a_card_that_fails_half_way_is_left_once_and_for_all(installed: Any) -> None:
    queries, base = world()
    calls = []

    def knn(q: Any, block: Any, k: int) -> Any:
        calls.append(k)
        return knn_of(forward)(q, block, k) if len(calls) < 3 else _no_memory()

    said = installed(knn)
    for _ in range(2):
        got, want = neighbours(queries, base, 24, 100, "faiss"), neighbours(queries, base, 24, 100, "blas")
        assert np.array_equal(got.rows, want.rows)
    assert len(calls) == 3
    (line,) = said
    assert "out of memory); this worker goes on, on the CPU" in line


def test_more_proposals_than_a_card_can_select_come_from_the_cpu(installed: Any) -> None:
    queries, base = world(2500)
    said = installed(_no_memory)
    value, rows = propose(queries.q.astype(np.float32), base.scaled, 2100, 65536, "faiss")
    assert rows.shape == value.shape == (50, 2100)
    assert said == []  # it was not asked


def test_blas_asks_no_card(installed: Any) -> None:
    queries, base = world()
    said = installed(_no_memory)
    neighbours(queries, base, 24, 100, "blas")
    assert said == []


@pytest.mark.parametrize(
    ("partition", "resources", "count", "device"),
    [
        (0, None, 4, 0),
        (6, None, 4, 2),
        (6, None, 1, 0),
        (6, ["3"], 4, 3),
        (6, ["3"], 1, 0),  # it sees its own card alone, as number 0
        (6, ["GPU-5f2c"], 4, 0),
    ],
)
def test_workers_share_the_cards(partition: int, resources: list[str] | None, count: int, device: int) -> None:
    from pyspark import TaskContext
    from pyspark.resource import ResourceInformation

    task = TaskContext._getOrCreate()
    try:
        task._partitionId = partition
        task._resources = {} if resources is None else {"gpu": ResourceInformation("gpu", resources)}
        assert device_of(count) == device
    finally:
        TaskContext._taskContext = None
    assert device_of(count) == 0


# --- with a card ------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Card:
    """Skipped without a card whatever MEDAL_REQUIRE_ALL says: the project is whole without one."""
    import faiss

    if not faiss.get_num_gpus():
        pytest.skip("FAISS sees no GPU")
    lines: list[str] = []
    found = start(faiss.get_num_gpus(), lambda device: gpu.faiss_knn(faiss, device), lines.append)
    assert found is not None, lines
    return found


@pytest.mark.gpu
@pytest.mark.parametrize("base_block", [1000, 65536])
def test_a_real_card_gives_the_same_lists(real: Card, installed: Any, base_block: int) -> None:
    queries, base = world(20_000)
    said = installed(real.knn)
    got, want = neighbours(queries, base, 64, base_block, "faiss"), neighbours(queries, base, 64, base_block, "blas")
    for name in ("rows", "score", "visual", "horizon"):
        assert np.array_equal(getattr(got, name), getattr(want, name)), name
    assert said == []


@pytest.mark.gpu
def test_a_real_card_selects_as_many_as_it_may(real: Card) -> None:
    queries, base = world(5000)
    found = real.search(queries.q.astype(np.float32), base.scaled, gpu.MOST)
    assert found is not None
    assert real.search(queries.q.astype(np.float32), base.scaled, gpu.MOST + 1) is None
