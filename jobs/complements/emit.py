"""Lists as rows of both tables. A batch is one source category × department × target category.

A row carries the columns of `candidates`, those of `complements`, and which of the two are to be written. What a
task did and counted stands in the first row of its first batch, so that sums over all rows are sums over all lists.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.complements.finish import REASONS, SCORED, Lists
from jobs.complements.gallery import LEVELS, Gallery
from jobs.complements.hashing import list_hashes
from jobs.complements.score import Bools, Int32, Int64
from schemas.tables import CANDIDATES, COMPLEMENT, COMPLEMENTS


@dataclass
class Figures:
    """What a task did. All add up over tasks."""

    planned: int = 0  # products × slots
    filled: int = 0
    no_vector: int = 0
    no_target: int = 0
    entries: int = 0
    able: int = 0  # entries that there could be: sum of `feasible`
    full: int = 0  # lists searched in full: of new pages
    searched_exactly: int = 0
    refilled: int = 0
    by_group: int = 0  # filled lists by the level that asked, where it was not the product itself
    by_product_type: int = 0
    by_category: int = 0
    pins_dropped: int = 0  # pinned or listed items that may not stand there, by pages (docs/rules.md says why)
    pairs: int = 0  # vector pairs compared
    inserted: int = 0  # new targets that entered known neighbours
    search_s: float = 0.0
    rescore_s: float = 0.0
    finish_s: float = 0.0
    read_s: float = 0.0

    def add(self, other: Figures) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


FIGURES = tuple(f.name for f in fields(Figures))
_FLAGS = ("candidates_changed", "complements_changed")


def _nullable(f: pa.Field) -> pa.Field:
    """A field as Spark knows it; the contract's NOT NULL holds for the table, not for a row of two tables."""
    return f.with_nullable(True)


SCHEMA = pa.schema(
    [
        *(_nullable(f) for f in CANDIDATES.schema),
        *(_nullable(f) for f in COMPLEMENTS.schema if f.name not in CANDIDATES.schema.names),
        *(pa.field(name, pa.bool_()) for name in _FLAGS),
        *(pa.field(f.name, pa.float64() if f.name.endswith("_s") else pa.int64()) for f in fields(Figures)),
    ]
)


@dataclass(frozen=True)
class Slot:
    """What all rows of a batch share."""

    source: str
    target: str
    slot: int
    model_version: str
    written: int


@dataclass(frozen=True)
class Near:
    """Neighbours of N pages as they are stored: rows of the target's gallery, -1 behind the end."""

    rows: Int64  # [N, D]
    score: Int32
    visual: Int32
    horizon: Int32  # [N]


def count(figures: Figures, lists: Lists, level: npt.NDArray[np.int8]) -> None:
    """Add lists of pages with these levels to a task's figures."""
    filled = lists.size > 0
    figures.planned += len(lists)
    figures.filled += int(filled.sum())
    figures.no_vector += int((~filled & (level < 0)).sum())
    figures.no_target += int((~filled & (level >= 0)).sum())
    figures.entries += int(lists.size.sum())
    figures.able += int(lists.feasible.sum())
    figures.refilled += int(lists.refilled.sum())
    figures.by_group += int((filled & (level == 1)).sum())
    figures.by_product_type += int((filled & (level == 2)).sum())
    figures.by_category += int((filled & (level == 3)).sum())


def hashes(lists: Lists, target: Gallery) -> pa.Array:
    return list_hashes(target.words, lists.rows, lists.score, lists.visual, lists.reason, lists.size, SCORED)


def rows(
    slot: Slot, source: Gallery, target: Gallery, pages: Int64, near: Near, lists: Lists, hashed: pa.Array,
    candidates: Bools, complements: Bools,
) -> pa.RecordBatch:  # fmt: skip
    """Rows of pages (rows of the source gallery) and their lists; the last two say which tables take them."""
    n = len(pages)
    asked = source.level[pages] >= 0
    there = (near.rows >= 0) & candidates[:, None]
    lengths = there.sum(axis=1)
    listed = lists.rows >= 0
    scored = SCORED[lists.reason[listed]] == 1
    score, visual = lists.score[listed], lists.visual[listed]
    parts = [
        target.ids.take(pa.array(lists.rows[listed])), pa.array(score, mask=~scored), pa.array(visual, mask=~scored),
        pa.array(score - visual, mask=~scored), _names(REASONS, lists.reason[listed]),
    ]  # fmt: skip
    reason = np.where(asked, "no_target", "no_vector").astype(object)
    reason[lists.size > 0] = None
    columns = {
        "item_id": source.ids.take(pa.array(pages)),
        "source_category": pa.repeat(pa.scalar(slot.source), n),
        "target_category": pa.repeat(pa.scalar(slot.target), n),
        "model_version": pa.repeat(pa.scalar(slot.model_version), n),
        "neighbour_ids": _lists(target.ids.take(pa.array(near.rows[there])), lengths, ~candidates),
        "scores": _lists(pa.array(near.score[there]), lengths, ~candidates),
        "visuals": _lists(pa.array(near.visual[there]), lengths, ~candidates),
        "horizon": pa.array(near.horizon, mask=~candidates),
        "slot": pa.repeat(pa.scalar(slot.slot, pa.int32()), n),
        "items": _lists(pa.StructArray.from_arrays(parts, fields=list(COMPLEMENT)), lists.size),
        "size": pa.array(lists.size),
        "feasible": pa.array(lists.feasible),
        "empty_reason": pa.array(reason, pa.string()),
        "level": _names(LEVELS, source.level[pages]),
        "list_hash": hashed,
        "written": pa.repeat(pa.scalar(slot.written, pa.int32()), n),
        "removed": pa.repeat(pa.scalar(False), n),
        "candidates_changed": pa.array(candidates),
        "complements_changed": pa.array(complements),
    }
    return _batch(columns, n)


def removed(slot: Slot, ids: pa.Array, candidates: Bools, complements: Bools) -> pa.RecordBatch:
    """Rows that say that keys are no more."""
    n = len(ids)
    nothing = np.zeros(n, dtype=np.int32)
    no_items = pa.array([], pa.list_(COMPLEMENT).value_type)
    columns = {
        "item_id": ids,
        "source_category": pa.repeat(pa.scalar(slot.source), n),
        "target_category": pa.repeat(pa.scalar(slot.target), n),
        "model_version": pa.repeat(pa.scalar(slot.model_version), n),
        "neighbour_ids": _lists(pa.array([], pa.string()), nothing),
        "scores": _lists(pa.array([], pa.int32()), nothing),
        "visuals": _lists(pa.array([], pa.int32()), nothing),
        "items": _lists(no_items, nothing),
        "list_hash": pa.repeat(pa.scalar(""), n),
        **{name: pa.array(nothing) for name in ("horizon", "slot", "size", "feasible")},
        "written": pa.repeat(pa.scalar(slot.written, pa.int32()), n),
        "removed": pa.repeat(pa.scalar(True), n),
        "candidates_changed": pa.array(candidates),
        "complements_changed": pa.array(complements),
    }
    return _batch(columns, n)


def with_figures(batch: pa.RecordBatch | None, figures: Figures) -> pa.RecordBatch:
    """The batch with a task's figures in its first row; a row that no table takes where there is none."""
    if batch is None or not len(batch):
        batch = _batch({n: pa.array([False]) for n in _FLAGS}, 1)
    first = np.zeros(len(batch), dtype=np.bool_)
    first[0] = True
    columns = list(batch.columns)
    for name in FIGURES:
        at = SCHEMA.get_field_index(name)
        value = pa.array([getattr(figures, name)] + [None] * (len(batch) - 1), SCHEMA.field(name).type)
        columns[at] = value
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _batch(columns: dict[str, pa.Array], n: int) -> pa.RecordBatch:
    arrays = [
        columns[f.name].cast(f.type) if f.name in columns else pa.nulls(n, f.type)
        for f in SCHEMA
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _names(names: tuple[str, ...], numbers: npt.NDArray[np.int8]) -> pa.Array:
    """Names by number, null for a negative one."""
    missing = numbers < 0
    codes = pa.array(np.where(missing, 0, numbers).astype(np.int32), mask=missing)
    return pa.array(names, pa.string()).take(codes)


def _lists(values: pa.Array, lengths: npt.NDArray[np.integer], null: Bools | None = None) -> pa.ListArray:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=None if null is None else pa.array(null))
