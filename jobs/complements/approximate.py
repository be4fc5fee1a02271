"""Neighbours by an index of one base: an inverted file or an HNSW graph proposes, exact scores order.

What the index misses is missing from the lists; how much that is, the gate measures every night (docs/gate.md). Every
proposal is scored by the exact rule, so scores, order and parts are those of an exact search of what was proposed.
Built anew in each worker from the same rows in the same order, by one thread from a fixed seed: on one kind of
processor the same inputs give the same lists.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from jobs.complements import search
from jobs.complements.engine import Kind
from jobs.complements.score import INT32_MIN, Bools, Float32, Int64
from jobs.complements.search import Base, Neighbours, Queries

Index = Any  # faiss.Index; its stubs know half of it
_SEED = 1234
# Inverted file: 4·√rows cells, of which so many are looked at. Recall@24 on `medal sample-vectors`: docs/lists.md.
_CELLS, _PROBES = 4.0, 64
_TRAINED_ON, _ROUNDS = 48, 8  # rows a cell, k-means rounds: half of them and twice of them move recall by under 0.005
_LINKS, _BUILD_WIDTH, _SEARCH_WIDTH = 32, 128, 512  # HNSW


def build(base: Base, kind: Kind) -> Index:
    """An index of a base's rows, deterministic."""
    import faiss

    rows, dimension = base.scaled.shape
    with _one_thread():
        if kind == "hnsw":
            graph = faiss.IndexHNSWFlat(dimension, _LINKS, faiss.METRIC_INNER_PRODUCT)
            graph.hnsw.efConstruction = _BUILD_WIDTH
            graph.add(base.scaled)
            return graph
        cells = max(1, min(rows, int(_CELLS * rows**0.5)))
        quantizer = faiss.IndexFlatIP(dimension)
        file = faiss.IndexIVFFlat(quantizer, dimension, cells, faiss.METRIC_INNER_PRODUCT)
        file.cp.seed, file.cp.niter = _SEED, _ROUNDS
        file.cp.min_points_per_centroid, file.cp.max_points_per_centroid = 1, _TRAINED_ON
        file.train(base.scaled)
        file.add(base.scaled)
        return file


def neighbours(queries: Queries, base: Base, depth: int, index: Index, kind: Kind, effort: float = 1.0) -> Neighbours:
    """As `search.neighbours`, of what the index finds; the horizon is the score of the first that was cut off.

    A query for which the index finds fewer than the list needs (cells run empty, the page's own group fills them) is
    searched exactly.
    """
    n, m = len(queries), depth + 1 + search.SPARE
    if m >= len(base) or n == 0:
        return search.neighbours(queries, base, depth, len(base))
    t0 = time.perf_counter()
    value, rows = _ask(index, kind, queries.q.astype(np.float32), m, effort)
    t1 = time.perf_counter()
    short: Bools = np.any(rows < 0, axis=1)
    found = search.ranked(queries, base, depth, value, np.where(short[:, None], 0, rows))
    # `ranked` calls what lies beyond its proposals undecided. Here they are all there is, where they fill a list.
    found = search.exactly(replace(found, exact=short | (found.horizon == INT32_MIN)), queries, base)
    return replace(found, search_s=t1 - t0, rescore_s=time.perf_counter() - t1)


def _ask(index: Index, kind: Kind, q: Float32, m: int, effort: float) -> tuple[Float32, Int64]:
    """The m best the index finds, descending; -1 behind the end. `effort` scales how much of it is looked at."""
    faiss: Any = import_module("faiss")

    if kind == "hnsw":
        how = faiss.SearchParametersHNSW(efSearch=max(m, round(_SEARCH_WIDTH * effort)))
    else:
        how = faiss.SearchParametersIVF(nprobe=max(1, min(index.nlist, round(_PROBES * effort))))
    value, rows = index.search(q, m, params=how)
    return value, rows


@contextmanager
def _one_thread() -> Iterator[None]:
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
