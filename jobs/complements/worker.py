"""What a Spark worker does: its tasks one by one, from the staged galleries to rows of both tables.

A row is a product × target category; it carries the columns of `candidates` (null without a vector), those of
`complements`, and the figures of its making. A task's seconds stand in its first row, so that they add up.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.finish import REASON, Lists, finish, no_lists, refill
from jobs.complements.gallery import Gallery, open_gallery
from jobs.complements.score import Bools, Float32, Int64, scaled_queries
from jobs.complements.search import Base, Neighbours, Queries, neighbours
from jobs.complements.tasks import Task
from jobs.lake import Lake
from schemas.tables import CANDIDATES, COMPLEMENT, COMPLEMENTS

_FIGURES = pa.schema(
    [
        pa.field("refilled", pa.bool_()),
        pa.field("searched_exactly", pa.bool_()),
        pa.field("search_s", pa.float64()),
        pa.field("rescore_s", pa.float64()),
        pa.field("finish_s", pa.float64()),
    ]
)
FIGURES = tuple(_FIGURES.names)


def _nullable(f: pa.Field) -> pa.Field:
    """A field as Spark knows it; the contract's NOT NULL holds for the table, not for a row of two tables."""
    return f.with_nullable(True)


SCHEMA = pa.schema(
    [
        *(_nullable(f) for f in CANDIDATES.schema),
        *(_nullable(f) for f in COMPLEMENTS.schema if f.name not in CANDIDATES.schema.names),
        *_FIGURES,
    ]
)


Shares = tuple[tuple[Task, ...], ...]  # the tasks of each Spark task


@dataclass(frozen=True)
class Spec:
    """All a worker must know besides its tasks; pickled once for each Spark task."""

    lake_root: str
    s3_endpoint_url: str | None
    run_id: str
    content: str  # key of the galleries' content: a worker that lives on never serves an earlier run's
    model_version: str
    categories: tuple[str, ...]  # all of the taxonomy: a gallery's number is its place here
    allowed: Bools  # [page's department, product's department]
    weights: dict[tuple[str, str], Float32] = field(repr=False)
    depth: int
    k: int
    base_block: int


def work(spec: Spec, shares: Shares, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For `mapInArrow`: batches of one column, numbers of shares; gives batches of SCHEMA."""
    for batch in batches:
        for share in batch.column(0).to_pylist():
            for task in shares[share]:
                yield run_task(spec, task)


def run_task(spec: Spec, task: Task) -> pa.RecordBatch:
    """Rows of one task."""
    source, target = _gallery(spec, task.source), _gallery(spec, task.target)
    base = _base(spec, task.target, task.department)
    pages = np.flatnonzero(source.department == task.department)[task.start : task.stop]
    has = source.has_vector[pages]
    q = scaled_queries(spec.weights[task.source, task.target], source.vectors[pages[has]])
    queries = Queries(q, source.group[pages[has]])
    found = neighbours(queries, base, spec.depth, spec.base_block)
    t0 = time.perf_counter()
    lists = refill(finish(found, queries.group, base, spec.k), queries, base, spec.k)
    if not has.all():
        lists = _spread(lists, has, no_lists(source.group[pages], base, spec.k))
    out = _rows(spec, task, source, target, base, pages, has, found, lists)
    figures = {
        "refilled": lists.refilled,
        "searched_exactly": _spread_array(found.exact, has, False),
        "search_s": _first(len(pages), found.search_s),
        "rescore_s": _first(len(pages), found.rescore_s),
        "finish_s": _first(len(pages), time.perf_counter() - t0),
    }
    return pa.RecordBatch.from_arrays([*out, *(pa.array(figures[n]) for n in FIGURES)], schema=SCHEMA)


def _rows(
    spec: Spec, task: Task, source: Gallery, target: Gallery, base: Base, pages: Int64, has: Bools,
    found: Neighbours, lists: Lists,
) -> list[pa.Array]:  # fmt: skip
    n = len(pages)
    there = found.rows >= 0
    lengths = np.zeros(n, dtype=np.int64)
    lengths[has] = there.sum(axis=1)
    neighbour_ids = target.ids.take(pa.array(base.rows[found.rows[there]]))
    listed = lists.rows >= 0
    ids = target.ids.take(pa.array(base.rows[lists.rows[listed]]))
    score, visual = lists.score[listed], lists.visual[listed]
    reasons = pa.repeat(pa.scalar(REASON), len(ids))
    parts = [ids, pa.array(score), pa.array(visual), pa.array(score - visual), reasons]
    items = _lists(pa.StructArray.from_arrays(parts, fields=list(COMPLEMENT)), lists.size)
    reason = np.where(has, "no_target", "no_vector").astype(object)
    reason[lists.size > 0] = None
    columns = {
        "item_id": source.ids.take(pa.array(pages)),
        "source_category": pa.repeat(pa.scalar(task.source), n),
        "target_category": pa.repeat(pa.scalar(task.target), n),
        "model_version": pa.repeat(pa.scalar(spec.model_version), n),
        "neighbour_ids": _lists(neighbour_ids, lengths, ~has),
        "scores": _lists(pa.array(found.score[there]), lengths, ~has),
        "visuals": _lists(pa.array(found.visual[there]), lengths, ~has),
        "horizon": pa.array(_spread_array(found.horizon, has, 0), mask=~has),
        "slot": pa.repeat(pa.scalar(task.slot, pa.int32()), n),
        "items": items,
        "size": pa.array(lists.size),
        "feasible": pa.array(lists.feasible),
        "empty_reason": pa.array(reason, pa.string()),
        "list_hash": list_hashes(items),
    }
    return [columns[name].cast(SCHEMA.field(name).type) for name in SCHEMA.names if name not in FIGURES]


def list_hashes(items: pa.ListArray) -> pa.StringArray:
    """Hash of the published part of each list: 32 hex digits of the sha256 of its lines.

    A line is item_id, score, visual, colour, reason with tabs between and, but for the last, a newline behind.
    """
    flat = items.flatten()
    text = [pc.struct_field(flat, "item_id")]
    text += [pc.struct_field(flat, f).cast(pa.string()) for f in ("score", "visual", "colour")]
    text += [pc.struct_field(flat, "reason")]
    # A pin has no score: nothing between its tabs.
    lines = pc.binary_join_element_wise(*text, "\t", null_handling="replace", null_replacement="")
    offsets = pc.subtract(items.offsets, items.offsets[0])  # of a slice they do not start at 0
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, lines), "\n")
    return pa.array([hashlib.sha256(t.encode()).hexdigest()[:32] for t in joined.to_pylist()], pa.string())


def _lists(values: pa.Array, lengths: npt.NDArray[np.integer], null: Bools | None = None) -> pa.ListArray:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=None if null is None else pa.array(null))


def _spread(lists: Lists, has: Bools, empty: Lists) -> Lists:
    """Lists of products with a vector, put between the empty ones of those without."""
    for name in ("rows", "score", "visual", "size", "feasible", "refilled"):
        getattr(empty, name)[has] = getattr(lists, name)
    return empty


def _spread_array(a: npt.NDArray[np.generic], has: Bools, fill: object) -> npt.NDArray[np.generic]:
    out = np.full(len(has), fill, dtype=a.dtype)
    out[has] = a
    return out


def _first(n: int, value: float) -> npt.NDArray[np.float64]:
    out = np.zeros(n)
    out[:1] = value
    return out


# --- what a worker process keeps: galleries are memory-mapped, bases are copies of their allowed rows ---------


def _gallery(spec: Spec, category: str) -> Gallery:
    n = spec.categories.index(category)
    return _opened(spec.lake_root, spec.s3_endpoint_url, spec.run_id, spec.content, n)


@lru_cache(maxsize=64)
def _opened(root: str, endpoint: str | None, run_id: str, content: str, n: int) -> Gallery:
    return open_gallery(Lake(root, s3_endpoint_url=endpoint), run_id, n)


def _base(spec: Spec, category: str, department: int) -> Base:
    flags = tuple(bool(b) for b in spec.allowed[department])
    key = (spec.lake_root, spec.s3_endpoint_url, spec.run_id, spec.content, spec.categories.index(category))
    return _built(key, flags)


@lru_cache(maxsize=2)  # tasks come by target and department
def _built(key: tuple[str, str | None, str, str, int], flags: tuple[bool, ...]) -> Base:
    return _opened(*key).base(np.array(flags))
