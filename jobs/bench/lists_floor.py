"""The floor of `medal bench lists`: the same lists by hand, in one process, every core busy in every step.

A thread a core takes one (target category, page department, source category) after the other: bare FAISS search, exact
re-scoring and finishing by the job's own compiled loops, columns of both tables, and all rows into one Parquet file,
written by whoever is done while the others search. No Spark, no Delta, no plan, no digest, no resuming.

Run as a process of its own (`python -m jobs.bench.lists_floor`), so that its memory and threads are its own.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.bench.lists_peer import peak_rss_mib
from jobs.complements import emit, gallery
from jobs.complements.finish import Limits, finish, known
from jobs.complements.gallery import Gallery
from jobs.complements.score import Float32, scaled_queries
from jobs.complements.search import SPARE, Base, Queries, neighbours, propose
from jobs.complements.tasks import allowed
from jobs.complements.worker import near_of
from jobs.complements.write import TEXTS
from jobs.embed.states import load_states
from jobs.lake import Lake
from jobs.plan import snapshot_rows
from medal_model.export import read_header
from schemas.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    from jobs.runs import Manifest

_PARTITIONS = ("source_category", "model_version")  # columns here, folders in the lake
_STORED = emit.STORED["candidates"], emit.STORED["complements"]
_COLUMNS = pa.schema(
    [
        *(f.with_nullable(True) for f in _STORED[0]),  # a page that asks nobody has a list and no neighbours
        *(f for f in _STORED[1] if f.name not in _STORED[0].names),
        *(pa.field(n, pa.dictionary(pa.int32(), pa.string())) for n in _PARTITIONS),
    ]
)
_WHOLE = 1 << 30  # no blocks: one FAISS call for all pages of a pair and department


@dataclass(frozen=True)
class Order:
    """What the floor is to do."""

    lake: str
    run_id: str
    out: str
    k: int
    depth: int
    bare: bool  # also the search alone, all cores in one FAISS call after the other
    warm: tuple[str, str] | None = None  # lake and run of a small shop to go through first, untimed


@dataclass
class Seconds:
    """Of the floor: `whole` and `read` on the wall, the others of all threads added up and divided by their number."""

    whole_s: float = 0.0
    read_s: float = 0.0
    search_s: float = 0.0
    rescore_s: float = 0.0
    finish_s: float = 0.0
    write_s: float = 0.0  # columns and the file
    bare_search_s: float | None = None
    pairs: int = 0
    lists: int = 0
    entries: int = 0
    peak_rss_mib: float = 0.0


@dataclass(frozen=True)
class _Piece:
    source: str
    target: str
    department: int


def floor(order: Order) -> Seconds:
    """Make all lists of a planned and embedded run. Raises DataError where there is no such run."""
    lake = Lake(order.lake)
    manifest = lake.manifest(order.run_id)
    taxonomy = load_taxonomy(Path(manifest.plan.taxonomy_path) if manifest.plan.taxonomy_path else None)
    weights = read_header(Path(manifest.plan.teacher_dir)).weights
    took, cores = Seconds(), len(os.sched_getaffinity(0))
    t0 = time.perf_counter()
    all_ = gallery.galleries(products_of(lake, manifest), taxonomy)
    took.read_s = time.perf_counter() - t0
    floor_ = _Floor(order, manifest.plan.inputs.model_version, taxonomy, all_, took)
    pieces = _pieces(taxonomy, all_)
    texts = [*TEXTS, *_PARTITIONS]
    with pq.ParquetWriter(
        order.out,
        _COLUMNS,
        compression="snappy",
        use_dictionary=texts,
        write_statistics=["item_id"],
        store_schema=False,
    ) as writer:
        floor_.writer = writer
        with ThreadPoolExecutor(cores, initializer=_one_thread) as pool:
            for done in [pool.submit(floor_.piece, p, weights(p.source, p.target)) for p in pieces]:
                done.result()
    took.whole_s = time.perf_counter() - t0
    for name in ("search_s", "rescore_s", "finish_s", "write_s"):
        setattr(took, name, getattr(took, name) / cores)
    took.peak_rss_mib = peak_rss_mib()
    if order.bare:
        took.bare_search_s = _bare(pieces, floor_, weights)
    return took


def products_of(lake: Lake, manifest: Manifest) -> pa.Table:
    """The run's products with their vectors, joined by columns."""
    plan = manifest.plan
    rows = snapshot_rows(lake, manifest)
    states = load_states(lake, plan.run_id)
    assert states is not None
    states = states.sort_by("item_id")
    vectors = lake.read(
        "embeddings",
        manifest.version("embeddings"),
        columns=["item_id", "image_fingerprint", "vector"],
        filters=[("model_version", "=", plan.inputs.model_version)],
    ).combine_chunks()
    keys = [pc.binary_join_element_wise(t["item_id"], t["image_fingerprint"], "\t") for t in (states, vectors)]
    at = pc.index_in(keys[0], value_set=keys[1].combine_chunks())
    return rows.append_column("vector", vectors["vector"].take(at))


def _one_thread() -> None:
    import faiss

    faiss.omp_set_num_threads(1)  # of the calling thread: each piece has a core


def _pieces(taxonomy: Taxonomy, all_: dict[str, Gallery]) -> list[_Piece]:
    """The largest first, so that all cores end together."""
    out: list[tuple[int, int, _Piece]] = []
    for source, target in taxonomy.pairs():
        for department in range(len(taxonomy.departments)):
            n = int((all_[source].department == department).sum())
            if n:
                out.append((n * len(all_[target]), len(out), _Piece(source, target, department)))
    return [p for _, _, p in sorted(out, key=lambda x: (-x[0], x[1]))]


class _Floor:
    def __init__(
        self, order: Order, model_version: str, taxonomy: Taxonomy, all_: dict[str, Gallery], took: Seconds
    ) -> None:
        self.order, self.taxonomy, self.all, self.took = order, taxonomy, all_, took
        self.limits = Limits(order.k)
        self.may = allowed(taxonomy)
        self.model_version = model_version
        self.writer: pq.ParquetWriter | None = None
        self.bases: dict[tuple[str, int], Base] = {}
        self.building, self.counting, self.writing = threading.Lock(), threading.Lock(), threading.Lock()

    def base(self, target: str, department: int) -> Base:
        with self.building:
            key = (target, department)
            if key not in self.bases:
                self.bases[key] = self.all[target].base(self.may[department])
            return self.bases[key]

    def piece(self, piece: _Piece, w: Float32) -> None:
        source, target = self.all[piece.source], self.all[piece.target]
        base = self.base(piece.target, piece.department)
        pages = np.flatnonzero(source.department == piece.department)
        t0 = time.perf_counter()
        queries = Queries(scaled_queries(w, source.vectors[pages]), source.group[pages])
        found = neighbours(queries, base, self.order.depth, _WHOLE, "faiss")
        t1 = time.perf_counter()
        lists = finish(known(found, base), queries, target.shelf(base), self.limits)
        t2 = time.perf_counter()
        slot = emit.Slot(
            piece.source, piece.target, self.taxonomy.targets[piece.source].index(piece.target), self.model_version, 0
        )
        near = emit.candidates(slot, source, target, pages, near_of(found, base)).batch
        made = emit.complements(slot, source, target, pages, lists, emit.lanes(lists, target)).batch
        named = {f.name: near.column(f.name) for f in near.schema} | {f.name: made.column(f.name) for f in made.schema}
        named |= {n: _same(t, len(pages)) for n, t in zip(_PARTITIONS, (piece.source, self.model_version), strict=True)}
        rows = pa.RecordBatch.from_arrays([named[f.name] for f in _COLUMNS], schema=_COLUMNS)
        write_s = time.perf_counter() - t2
        with self.writing:
            t3 = time.perf_counter()
            assert self.writer is not None
            self.writer.write_batch(rows)
            write_s += time.perf_counter() - t3
        with self.counting:
            took = self.took
            took.search_s += t1 - t0 - found.rescore_s
            took.rescore_s += found.rescore_s
            took.finish_s += t2 - t1
            took.write_s += write_s
            took.pairs += len(pages) * len(base)
            took.lists += len(pages)
            took.entries += int(lists.size.sum())


def _same(text: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))


def _bare(pieces: list[_Piece], floor_: _Floor, weights: object) -> float:
    """Seconds of the search alone: FAISS with all its threads, one pair and department after the other."""
    total = 0.0
    for p in pieces:
        base = floor_.base(p.target, p.department)
        source = floor_.all[p.source]
        pages = np.flatnonzero(source.department == p.department)
        m = min(floor_.order.depth + 1 + SPARE, len(base))
        if not m:
            continue
        q = scaled_queries(weights(p.source, p.target), source.vectors[pages]).astype(np.float32)  # type: ignore[operator]
        t0 = time.perf_counter()
        propose(q, base.scaled, m, _WHOLE, "faiss")
        total += time.perf_counter() - t0
    return total


def main() -> None:
    """`python -m jobs.bench.lists_floor ORDER.json`: the seconds as JSON on the last line."""
    order = Order(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    if order.warm is not None:
        lake, run_id = order.warm
        floor(replace(order, lake=lake, run_id=run_id, bare=False))
    print(json.dumps(asdict(floor(order))))


if __name__ == "__main__":
    main()
