"""One peer of `medal bench lists`, by numpy and the peer's package alone, in an environment of its own.

    python lists_peer.py hnswlib|autofaiss FOLDER

FOLDER holds products.npz (vectors, category, department), shop.npz (weights [S, T, 128], targets [S, T] as flags,
allowed [D, D]) and sample.npz (for some pages and slots the exact neighbours), all by row of products.npz. An index a
target category and page department holds exactly the possible targets, as a filter inside an approximate index would
be slower or lose recall. Search parameters grow until the sampled recall is enough; that search for them is not timed,
building and the last search of all pages are. JSON on the last line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ENOUGH = 0.99
CORES = len(os.sched_getaffinity(0))
Search = Callable[[Any, int, int], Any]  # queries [N, 128], k, effort → rows of the index [N, k]


class World:
    """The input files."""

    def __init__(self, folder: str) -> None:
        products, shop, sample = (np.load(f"{folder}/{n}.npz") for n in ("products", "shop", "sample"))
        self.vectors, self.category, self.department = (products[n] for n in ("vectors", "category", "department"))
        self.weights, self.targets, self.allowed = (shop[n] for n in ("weights", "targets", "allowed"))
        self.page, self.target, self.exact = (sample[n] for n in ("page", "target", "neighbours"))
        self.depth = self.exact.shape[1]

    def bases(self) -> Iterator[tuple[int, int, Any]]:
        """(target category, page department, rows of the possible targets), none empty."""
        for target in np.flatnonzero(self.targets.any(axis=0)).tolist():
            for department in np.unique(self.department).tolist():
                rows = np.flatnonzero((self.category == target) & self.allowed[department][self.department])
                if len(rows) and self.pages(target, department).size:
                    yield target, department, rows

    def pages(self, target: int, department: int) -> Any:
        return np.flatnonzero(self.targets[self.category, target] & (self.department == department))

    def queries(self, pages: Any, target: int) -> Any:
        return self.weights[self.category[pages], target] * self.vectors[pages]


def peak_rss_mib() -> float:
    """This program's own peak: getrusage's starts from that of the process it was forked from."""
    with open("/proc/self/status", encoding="ascii") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM:"))


def measure(world: World, build: Callable[[Any], Search], efforts: list[int], about: str) -> dict[str, Any]:
    """Seconds and recall@depth of a peer; `build` makes an index of vectors."""
    t0 = time.perf_counter()
    made = [(target, department, rows, build(world.vectors[rows])) for target, department, rows in world.bases()]
    build_s = time.perf_counter() - t0
    effort, recall = efforts[0], 0.0
    for effort in efforts:
        recall = _recall(world, made, effort)
        if recall >= ENOUGH:
            break
    t0 = time.perf_counter()
    for target, department, rows, search in made:
        pages = world.pages(target, department)
        search(world.queries(pages, target), min(world.depth, len(rows)), effort)
    search_s = time.perf_counter() - t0
    peak = peak_rss_mib()
    return {"s": round(build_s + search_s, 3), "recall": round(recall, 5), "build_s": round(build_s, 3),
            "search_s": round(search_s, 3), "effort": effort, "about": about, "peak_rss_mib": round(peak)}  # fmt: skip


def _recall(world: World, made: list[tuple[int, int, Any, Search]], effort: int) -> float:
    """Share of the exact neighbours of the sampled lists that are found."""
    hit = total = 0
    for target, department, rows, search in made:
        mine = np.flatnonzero((world.target == target) & (world.department[world.page] == department))
        if not len(mine):
            continue
        found = search(world.queries(world.page[mine], target), min(world.depth, len(rows)), effort)
        for n, own in zip(mine.tolist(), found, strict=True):
            exact = world.exact[n][world.exact[n] >= 0]
            hit += len(np.intersect1d(rows[own[own >= 0]], exact))
            total += len(exact)
    return hit / total if total else 1.0


def hnswlib(world: World) -> dict[str, Any]:
    import hnswlib as package

    def build(vectors: Any) -> Search:
        index = package.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=16, ef_construction=200, random_seed=0)
        index.set_num_threads(CORES)
        index.add_items(vectors)

        def search(queries: Any, k: int, ef: int) -> Any:
            index.set_ef(max(ef, k))
            return index.knn_query(queries, k=k)[0].astype(np.int64)

        return search

    return measure(world, build, [64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048], "M 16, ef_construction 200")


def autofaiss(world: World) -> dict[str, Any]:
    import faiss
    from autofaiss import build_index

    def build(vectors: Any) -> Search:
        index, _ = build_index(
            vectors,
            save_on_disk=False,
            metric_type="ip",
            nb_cores=CORES,
            verbose=40,
            min_nearest_neighbors_to_retrieve=64,
        )
        assert index is not None

        def search(queries: Any, k: int, effort: int) -> Any:
            try:
                faiss.ParameterSpace().set_index_parameter(index, "efSearch", effort)
            except RuntimeError:
                try:
                    faiss.ParameterSpace().set_index_parameter(index, "nprobe", effort)
                except RuntimeError:
                    pass  # a flat index
            return index.search(np.ascontiguousarray(queries), k)[1]

        return search

    return measure(
        world, build, [16, 64, 128, 256, 512, 1024, 2048], f"autofaiss's own choice, faiss {faiss.__version__}"
    )


if __name__ == "__main__":
    print(json.dumps({"hnswlib": hnswlib, "autofaiss": autofaiss}[sys.argv[1]](World(sys.argv[2]))))
