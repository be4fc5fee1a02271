"""Nearest neighbours of a block of queries by the exact rule: float32 products propose, exact scores decide.

For each query: the first `depth` possible targets by (-score, item_id), exactly, and the horizon. The outcome
depends neither on block sizes nor on who multiplies (BLAS or FAISS), its threads or its order of summation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from jobs.complements.score import (
    INT32_MIN,
    Bools,
    Float32,
    Float64,
    Int32,
    Int64,
    micro,
    order_keys,
    proposal_error,
    rescore,
    row_of_key,
    score_of_key,
)

Engine = Literal["blas", "faiss"]
NONE = np.iinfo(np.int64).max  # key of "no target here": behind every real one
# Proposals beyond depth + 1. They pay for near ties within the float32 error (about 8 micro-units wide, where real
# scores lie hundreds apart) and for members of the query's own group; more than that is searched exactly.
SPARE = 15
_PRODUCTS = 1024  # queries and base rows of a block of float32 products: 4 MiB
_EXACT_ROWS = 8192  # base rows a step of the exact search, 8 MiB as float64
_EXACT_QUERIES = 128


@dataclass(frozen=True)
class Base:
    """Possible targets of one category for one kind of page: with a vector, in allowed departments, by item_id."""

    rows: Int64  # [M] rows of the category's gallery, ascending
    scaled: Float32  # [M, 128] y' of the rule, contiguous
    group: Int64  # [M]
    in_stock: Bools  # [M]
    norm: float  # the largest ‖y'‖
    stock_groups: Int64  # distinct groups that have a member in stock, ascending

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, rows: Int64, scaled: Float32, group: Int64, in_stock: Bools) -> Base:
        norm = float(np.sqrt(np.einsum("nd,nd->n", scaled, scaled, dtype=np.float64).max(initial=0.0)))
        return cls(rows, np.ascontiguousarray(scaled), group, in_stock, norm, np.unique(group[in_stock]))


@dataclass(frozen=True)
class Queries:
    """Products whose lists are made: q of the rule and the group of each."""

    q: Float64  # [N, 128]
    group: Int64  # [N]

    def __len__(self) -> int:
        return len(self.group)

    def take(self, which: Int64 | Bools) -> Queries:
        return Queries(self.q[which], self.group[which])


@dataclass(frozen=True)
class Neighbours:
    """For N queries the best possible targets, at most `depth`, by (-score, item_id).

    rows are rows of the Base, -1 behind the end of a list. Every possible target with a score above the horizon is
    in the list; INT32_MIN: all possible targets are.
    """

    rows: Int64  # [N, depth]
    score: Int32  # [N, depth]
    visual: Int32  # [N, depth]
    horizon: Int32  # [N]
    exact: Bools  # [N] where the proposals could not decide and all targets were scored
    search_s: float = 0.0
    rescore_s: float = 0.0


def neighbours(queries: Queries, base: Base, depth: int, base_block: int, engine: Engine = "blas") -> Neighbours:
    """The `depth` best possible targets of each query, its own group left out."""
    n, m = len(queries), min(depth + 1 + SPARE, len(base))
    if n == 0 or m == 0:
        empty = np.zeros((n, depth), dtype=np.int32)
        return Neighbours(np.full((n, depth), -1, dtype=np.int64), empty, empty,
                          np.full(n, INT32_MIN, dtype=np.int32), np.zeros(n, dtype=np.bool_))  # fmt: skip
    t0 = time.perf_counter()
    value, proposed = propose(queries.q.astype(np.float32), base.scaled, m, base_block, engine)
    t1 = time.perf_counter()
    found = exactly(ranked(queries, base, depth, value, proposed), queries, base)
    return replace(found, search_s=t1 - t0, rescore_s=time.perf_counter() - t1)


def ranked(queries: Queries, base: Base, depth: int, value: Float32, proposed: Int64) -> Neighbours:
    """Proposals [N, m], descending, scored exactly and ranked; `exact` marks where they do not decide the list.

    Proposals are scored in their order. What is not scored, for it was not proposed or stands further behind, has a
    float32 value of at most the next one's, so an exact sum of at most that plus the error, and micro() is monotone:
    everything above this line has been scored. Decided where depth + 1 entries lie above the line (the list, and the
    score at which it was cut), mostly some proposals before the last, or all is scored.
    """
    from jobs.complements import kernels

    n = len(queries)
    error = proposal_error(queries.q, base.norm)
    rows, score, visual = (np.empty((n, depth), dtype=t) for t in (np.int64, np.int32, np.int32))
    horizon, decided = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.bool_)
    kernels.rank(
        np.ascontiguousarray(queries.q), queries.group, base.scaled, base.group, value, proposed, error, depth,
        rows, score, visual, horizon, decided,
    )  # fmt: skip
    return Neighbours(rows, score, visual, horizon, ~decided)


def exactly(found: Neighbours, queries: Queries, base: Base) -> Neighbours:
    """`found` with the lists that it marks made anew, all targets scored; in place."""
    open_ = np.flatnonzero(found.exact)
    if len(open_):
        some, depth = queries.take(open_), found.rows.shape[1]
        keys = exact_top(some, base, depth + 1)
        there = keys[:, :depth] != NONE
        found.rows[open_] = np.where(there, row_of_key(keys[:, :depth]), -1)
        found.score[open_] = np.where(there, score_of_key(keys[:, :depth]), 0)
        found.visual[open_] = visual_of(some.q, base, keys[:, :depth])
        found.horizon[open_] = np.where(keys[:, depth] == NONE, INT32_MIN, score_of_key(keys[:, depth]))
    return found


def propose(q: Float32, base: Float32, m: int, base_block: int, engine: Engine = "blas") -> tuple[Float32, Int64]:
    """The m largest float32 inner products of each query: values and rows [N, m], descending.

    "blas": matrix products of blocks that fit the processor's cache, of which the largest are kept as they come: on a
    CPU less than half of the time of "faiss", which searches `base_block` rows at once, on a GPU where there is one
    (`gpu`). Memory of neither grows with the base.
    """
    return _by_blas(q, base, m) if engine == "blas" else _by_faiss(q, base, m, base_block)


def _by_blas(q: Float32, base: Float32, m: int) -> tuple[Float32, Int64]:
    from jobs.complements import kernels

    n, room = len(q), 3 * m + kernels.SPARE_KEYS
    value, rows = np.empty((n, m), dtype=np.float32), np.empty((n, m), dtype=np.int64)
    keys = np.empty((min(n, _PRODUCTS), room), dtype=np.int64)
    block = np.empty((min(n, _PRODUCTS), min(len(base), _PRODUCTS)), dtype=np.float32)
    for a in range(0, n, _PRODUCTS):
        some = q[a : a + _PRODUCTS]
        count, line = np.zeros(len(some), dtype=np.int64), np.full(len(some), -np.inf, dtype=np.float32)
        for start in range(0, len(base), _PRODUCTS):
            part = base[start : start + _PRODUCTS]
            out = block.reshape(-1)[: len(some) * len(part)].reshape(len(some), len(part))
            np.matmul(some, part.T, out=out)
            kernels.select(out, start, keys, count, line, m)
        kernels.front(keys[: len(some)], count, m)
        kernels.unpack(np.sort(keys[: len(some), :m], axis=1), value[a : a + len(some)], rows[a : a + len(some)])
    return value, rows


def _by_faiss(q: Float32, base: Float32, m: int, base_block: int) -> tuple[Float32, Int64]:
    import faiss

    from jobs.complements import gpu, kernels

    card = gpu.card()
    # A reservoir instead of a heap from this k on: a fifth faster at k = 80 over bases of a few thousand rows.
    faiss.cvar.distance_compute_min_k_reservoir = 32
    best: tuple[Float32, Int64] | None = None
    for start in range(0, len(base), base_block):
        block = base[start : start + base_block]
        k = min(m, len(block))
        found = card.search(q, block, k) if card else None
        v, r = found or faiss.knn(q, block, k, metric=faiss.METRIC_INNER_PRODUCT)
        r += start
        if best is not None:
            width = min(m, best[0].shape[1] + v.shape[1])
            merged = np.empty((len(q), width), dtype=np.float32), np.empty((len(q), width), dtype=np.int64)
            kernels.merge(*best, v, r, *merged)
            v, r = merged
        best = v, r
    assert best is not None
    return best


def exact_top(queries: Queries, base: Base, n: int) -> Int64:
    """Keys of the n best targets of each query, own group left out, all targets scored: [N, n], NONE at the end."""
    best = np.full((len(queries), n), NONE, dtype=np.int64)
    for start in range(0, len(base), _EXACT_ROWS):
        columns = np.arange(start, min(len(base), start + _EXACT_ROWS))
        for a, keys in _scored(queries, base, columns):
            best[a : a + len(keys)] = _lowest(np.hstack([best[a : a + len(keys)], keys]), n)
    return np.sort(best, axis=1)


def visual_of(q: Float64, base: Base, keys: Int64) -> Int32:
    """Visual parts for keys [N, n]; 0 where there is no target."""
    there = keys != NONE
    score, visual = rescore(q, base.scaled, np.where(there, row_of_key(keys), 0))
    assert np.array_equal(score[there], score_of_key(keys[there]))  # one rule, two ways of summing
    return np.where(there, visual, 0).astype(np.int32)


def _scored(queries: Queries, base: Base, columns: Int64) -> Iterator[tuple[int, Int64]]:
    """(first query, keys) for steps of queries against some base rows."""
    y = base.scaled[columns].astype(np.float64).T
    group = base.group[columns]
    step = max(_EXACT_QUERIES, (_EXACT_QUERIES * _EXACT_ROWS) // len(columns))
    for a in range(0, len(queries), step):
        s = queries.q[a : a + step] @ y
        keys = order_keys(micro(s), columns[None, :])
        keys[queries.group[a : a + step, None] == group] = NONE
        yield a, keys


def _lowest(keys: Int64, n: int) -> Int64:
    return np.partition(keys, n - 1, axis=1)[:, :n]
