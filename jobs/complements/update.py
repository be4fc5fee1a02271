"""Known lists brought up to date: the rows of a category that an earlier night left, and what is new tonight.

For every page that asks as it did before: neighbours that are possible no more are struck, new targets above the
horizon are put in, and the list is finished with tonight's stock, prices and rules. What comes out equals a search in
full on what is published (design section 5): every possible target above the horizon is among the neighbours, before
and after, and `finish` uses nothing below it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.complements import emit
from jobs.complements.compiled import compiled
from jobs.complements.emit import Figures, Near, Rows
from jobs.complements.explore import explore_of
from jobs.complements.finish import Known, finish
from jobs.complements.gallery import LEVELS, Gallery
from jobs.complements.generations import KEY, live
from jobs.complements.hashing import UInt64, lanes_of
from jobs.complements.score import (
    INT32_MIN,
    SCALE,
    Bools,
    Float32,
    Float64,
    Int32,
    Int64,
    micro,
    order_keys,
    proposal_error,
    row_of_key,
)
from jobs.complements.search import NONE, Base, Queries, neighbours
from jobs.complements.tasks import Update
from jobs.complements.worker import Spec, arrived_of, base_of, effects_of, gallery_of, lake_of, near_of, queries_of
from schemas.tables import VISUAL_DIM

_LISTS = (*KEY, "slot", "size", "feasible", "empty_reason", "level", "list_hash")
_CELLS = 1 << 23  # float32 scores of pages × new targets held at once
_GONE, _ARRIVED = -1, -2
_ROWS = 8192  # of candidates brought up to date at once
_DICTIONARY = ("neighbour_ids", "item_id", "target_category")  # read as codes and names, as they are stored


def update(spec: Spec, task: Update, figures: Figures) -> Iterator[Rows]:
    """Changed rows of one task."""
    t0 = time.perf_counter()
    source = gallery_of(spec, task.source)
    lists = _Published.read(spec, task, source)
    holds = _holding(spec, task)
    figures.read_s += time.perf_counter() - t0
    if task.lead and not spec.whole:
        yield from lists.departed(spec, task.source)
    for name in task.files:
        for stored in _read(spec, name, holds[name], source, figures):
            yield from _stored(spec, task.source, source, stored, lists, figures)


def _read(spec: Spec, name: str, holds: Bools, source: Gallery, figures: Figures) -> Iterator[_Stored]:
    """A file of `candidates`, some thousand rows at a time: what a night writes of them becomes a row group."""
    at, t0 = 0, time.perf_counter()
    with _opened(lake_of(spec).open_file(name)) as f:
        parts: list[pa.Table] = []
        for group in range(f.num_row_groups):
            parts.append(f.read_row_group(group))
            rows = sum(map(len, parts))
            if rows < _ROWS and group + 1 < f.num_row_groups:
                continue
            stored = _Stored.of(parts, np.flatnonzero(holds[at : at + rows]), source)
            at, parts = at + rows, []
            figures.read_s += time.perf_counter() - t0
            yield stored
            t0 = time.perf_counter()


def _stored(
    spec: Spec, category: str, source: Gallery, stored: _Stored, lists: _Published, figures: Figures
) -> Iterator[Rows]:
    for target, at in stored.by_target():
        if target not in spec.taxonomy.targets[category]:
            continue
        pages = stored.pages[at]
        slot = spec.slot(category, target)
        # A page that is there no more, or asks no more, has no neighbours; its lists are `_Published.departed`'s.
        gone = (pages < 0) | (source.level[np.maximum(pages, 0)] < 0) if len(source) else pages < 0
        if gone.any() and not spec.whole:
            yield emit.removed("candidates", slot, stored.ids.take(pa.array(at[gone])))
        kept = ~gone & ~source.fresh[np.maximum(pages, 0)] if len(source) else ~gone
        there = gallery_of(spec, target)
        rows_of = stored.rows_of(there)
        for department in np.unique(source.department[pages[kept]]):
            own = at[kept & (source.department[np.maximum(pages, 0)] == department)]
            yield from _department(spec, slot, source, there, int(department), stored, own, rows_of, lists, figures)


def _department(
    spec: Spec, slot: emit.Slot, source: Gallery, target: Gallery, department: int, stored: _Stored, at: Int64,
    rows_of: Int64, lists: _Published, figures: Figures,
) -> list[Rows]:  # fmt: skip
    """Changed rows of the pages of one department for one slot."""
    pages = stored.pages[at]
    base = base_of(spec, slot.target, department)
    queries = queries_of(spec, slot.source, slot.target, source, pages)
    t0 = time.perf_counter()
    keys, score, visual, wrong = _known(
        stored.offsets, at, stored.neighbours, rows_of, stored.scores, stored.visuals, spec.depth
    )
    have = Known(keys, score, visual, stored.horizon[at].copy())
    t1 = time.perf_counter()
    entered = insert(have, queries, arrived_of(spec, slot.target, department), figures)
    thin = np.flatnonzero((have.horizon != INT32_MIN) & ((have.keys != NONE).sum(axis=1) < spec.depth // 2))
    if len(thin):  # struck until little was left: searched again, before lists begin to run out one by one
        found = neighbours(queries.take(thin), base, spec.depth, spec.base_block, spec.engine)
        near = near_of(found, base)
        have.keys[thin] = np.where(near.rows >= 0, order_keys(near.score, np.maximum(near.rows, 0)), NONE)
        have.score[thin], have.visual[thin], have.horizon[thin] = near.score, near.visual, near.horizon
        figures.full += len(thin)
        figures.pairs += len(thin) * len(base)
        figures.rescore_s += found.rescore_s
    t2 = time.perf_counter()
    effects = effects_of(spec, slot.source, slot.target, pages, figures)
    explore = explore_of(spec.limits, spec.run_date, source, pages, target, slot.target, base)
    finished = finish(have, queries, target.shelf(base), spec.limits, effects, explore)
    emit.count(figures, finished, source.level[pages])
    hashed = emit.lanes(finished, target)
    other = lists.differ(pages, slot, finished.size, finished.feasible, source.level[pages], hashed)
    moved = wrong | entered
    moved[thin] = True
    if spec.whole:
        moved[:] = other[:] = True
    t3 = time.perf_counter()
    figures.read_s += t1 - t0
    figures.search_s += t2 - t1
    figures.finish_s += t3 - t2
    made = []
    if moved.any():
        own = have.take(np.flatnonzero(moved))
        near = Near(np.where(own.keys != NONE, row_of_key(own.keys), -1), own.score, own.visual, own.horizon)
        made.append(emit.candidates(slot, source, target, pages[moved], near))
    if other.any():
        own_lists = finished.take(np.flatnonzero(other))
        made.append(emit.complements(slot, source, target, pages[other], own_lists, hashed[other]))
    figures.write_s += time.perf_counter() - t3
    return made


def insert(have: Known, queries: Queries, new: Base, figures: Figures) -> Bools:
    """Put every new target above its page's horizon into `have`; which pages got one.

    float32 products propose: a new target is scored exactly where its product is within the error of the horizon, or
    above (score.proposal_error; micro(S) > h needs S ≥ (h + 1/2) · 2^40 / 10^6).
    """
    n, m = len(queries), len(new)
    entered = np.zeros(n, dtype=np.bool_)
    if n == 0 or m == 0:
        return entered
    figures.pairs += n * m
    line = (have.horizon.astype(np.float64) + 0.5) * (SCALE * SCALE / 1e6) - proposal_error(queries.q, new.norm)
    line32 = np.nextafter(line.astype(np.float32), np.float32(-np.inf))
    q32, across = queries.q.astype(np.float32), np.ascontiguousarray(new.scaled.T)
    step = max(1, _CELLS // m)
    for a in range(0, n, step):
        i, j = np.nonzero(q32[a : a + step] @ across >= line32[a : a + step, None])
        if not len(i):
            continue
        i += a
        total, part = _pair_sums(queries.q, new.scaled, i, j)
        score, visual = micro(total), micro(part)
        keep = (score > have.horizon[i]) & (new.group[j] != queries.group[i])
        keep |= (have.horizon[i] == INT32_MIN) & (new.group[j] != queries.group[i])
        i, keys, visual = i[keep], order_keys(score[keep], new.rows[j[keep]]), visual[keep]
        order = np.lexsort((keys, i))
        _merge(have.keys, have.score, have.visual, have.horizon, i[order], keys[order], visual[order])
        entered[i] = True
        figures.inserted += len(i)
    return entered


@compiled()
def _known(
    offsets: Int64, at: Int64, neighbours: Int32, rows_of: Int64, scores: Int32, visuals: Int32, depth: int
) -> tuple[Int64, Int32, Int32, Bools]:
    """Stored neighbours of rows `at` as keys, scores and visual parts [N, depth]; and where a stored one is wrong.

    One that is possible no more may stay in the table: it is struck every night, until it arrives again (and then it
    is wrong), or the row is written for another reason.
    """
    keys = np.full((len(at), depth), 0x7FFFFFFFFFFFFFFF, dtype=np.int64)
    score = np.zeros((len(at), depth), dtype=np.int32)
    visual = np.zeros((len(at), depth), dtype=np.int32)
    wrong = np.zeros(len(at), dtype=np.bool_)
    for i in range(len(at)):
        n = 0
        for e in range(offsets[at[i]], offsets[at[i] + 1]):
            row = rows_of[neighbours[e]]
            if row == _ARRIVED:
                wrong[i] = True
            elif row != _GONE and n < depth:
                keys[i, n] = (-np.int64(scores[e]) << 32) | row
                score[i, n], visual[i, n] = scores[e], visuals[e]
                n += 1
    return keys, score, visual, wrong


@compiled()
def _pair_sums(q: Float64, base: Float32, i: Int64, j: Int64) -> tuple[Float64, Float64]:
    """S and its visual part for pairs of a query and a base row: exact, as sums of integers below 2^53."""
    total, part = np.empty(len(i)), np.empty(len(i))
    for n in range(len(i)):
        x, y = q[i[n]], base[j[n]]
        v, c = 0.0, 0.0
        for d in range(VISUAL_DIM):
            v += x[d] * np.float64(y[d])
        for d in range(VISUAL_DIM, len(x)):
            c += x[d] * np.float64(y[d])
        total[n], part[n] = v + c, v
    return total, part


@compiled()
def _merge(
    keys: Int64, score: Int32, visual: Int32, horizon: Int32, i: Int64, new: Int64, new_visual: Int32
) -> None:  # fmt: skip
    """Put new keys (by page, ascending) into their pages' rows, in place; what falls out is a full row's horizon."""
    depth = keys.shape[1]
    for n in range(len(i)):
        page, key = i[n], new[n]
        if key > keys[page, depth - 1]:  # behind a full row
            horizon[page] = max(horizon[page], -(key >> 32))
            continue
        last = keys[page, depth - 1]
        if last != 0x7FFFFFFFFFFFFFFF:
            horizon[page] = max(horizon[page], -(last >> 32))
        p = depth - 1
        while p > 0 and keys[page, p - 1] > key:
            keys[page, p], score[page, p], visual[page, p] = keys[page, p - 1], score[page, p - 1], visual[page, p - 1]
            p -= 1
        keys[page, p], score[page, p], visual[page, p] = key, -(key >> 32), new_visual[n]


# --- what the earlier night left ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """Rows of some row groups of `candidates`, and which of them hold."""

    ids: pa.Array  # of all rows
    pages: Int64  # [N] of all rows: row of the source gallery, -1 where it is there no more
    keep: Int64  # rows that hold
    target: npt.NDArray[np.int32]  # [N] place in `targets`
    targets: list[str]
    offsets: Int64  # [N + 1]
    neighbours: npt.NDArray[np.int32]  # place in `names`
    names: pa.Array
    scores: Int32
    visuals: Int32
    horizon: Int32

    @classmethod
    def of(cls, parts: Sequence[pa.Table], keep: Int64, source: Gallery) -> _Stored:
        ids = pa.concat_arrays([_plain(p["item_id"]) for p in parts])
        pages = pc.fill_null(pc.index_in(ids, value_set=source.ids), -1).to_numpy().astype(np.int64)
        target = _unified([_encoded(p["target_category"]) for p in parts])
        near = [_only(p["neighbour_ids"]) for p in parts]
        ends = np.cumsum([0, *(len(n.values) for n in near)])
        offsets = [n.offsets.to_numpy().astype(np.int64)[:-1] + e for n, e in zip(near, ends, strict=False)]
        codes, names = _joined([_encoded(n.values) for n in near])
        flat = [np.concatenate([_only(p[n]).values.to_numpy() for p in parts]) for n in ("scores", "visuals")]
        return cls(
            ids, pages, keep, target.indices.to_numpy().astype(np.int32), target.dictionary.to_pylist(),
            np.concatenate([*offsets, ends[-1:]]), codes, names, flat[0], flat[1],
            np.concatenate([p["horizon"].to_numpy() for p in parts]),
        )  # fmt: skip

    def by_target(self) -> Iterator[tuple[str, Int64]]:
        for n, name in enumerate(self.targets):
            at = self.keep[self.target[self.keep] == n]
            if len(at):
                yield name, at

    def rows_of(self, target: Gallery) -> Int64:
        """Of each name the row of the target's gallery; _GONE where it is no possible target, _ARRIVED a new one."""
        if not len(target):
            return np.full(len(self.names), _GONE, dtype=np.int64)
        rows = pc.fill_null(pc.index_in(self.names, value_set=target.ids), -1).to_numpy().astype(np.int64)
        there = (rows >= 0) & target.has_vector[np.maximum(rows, 0)]
        return np.where(there, np.where(target.arrived[np.maximum(rows, 0)], _ARRIVED, rows), _GONE)


@dataclass(frozen=True)
class _Published:
    """The category's lists of the earlier night, as far as tonight's are compared with them."""

    at: Int64  # [pages, slots] row below, -1 where there is none
    ids: pa.Array
    targets: pa.Array
    gone: Int64  # rows of products that are there no more
    size: Int32
    feasible: Int32
    level: npt.NDArray[np.int8]
    slot: Int32
    hashed: UInt64  # [N, 2]

    @classmethod
    def read(cls, spec: Spec, task: Update, source: Gallery) -> _Published:
        lake = lake_of(spec)
        tables = [pq.read_table(lake.open_file(f), columns=list(_LISTS)) for f in task.lists_files]
        schema = tables[0].schema if tables else pa.schema([(n, pa.string()) for n in _LISTS])
        rows = pa.concat_tables([t.cast(schema) for t in tables]) if tables else schema.empty_table()
        rows = rows.filter(pa.array(live(rows))).combine_chunks() if len(rows) else rows
        ids = _plain(rows["item_id"])
        page = pc.fill_null(pc.index_in(ids, value_set=source.ids), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        names = pa.array(spec.taxonomy.targets[task.source], pa.string())
        targets = _plain(rows["target_category"])
        place = pc.fill_null(pc.index_in(targets, value_set=names), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        at = np.full((len(source), len(names)), -1, dtype=np.int64)
        there = (page >= 0) & (place >= 0)
        at[page[there], place[there]] = np.flatnonzero(there)
        level = pc.fill_null(pc.index_in(_plain(rows["level"]), value_set=pa.array(LEVELS)), -1)
        size, feasible, slot = (rows[n].to_numpy().astype(np.int32) for n in ("size", "feasible", "slot"))
        return cls(
            at, ids, targets, np.flatnonzero(~there), size, feasible,
            level.to_numpy(zero_copy_only=False).astype(np.int8), slot, lanes_of(_plain(rows["list_hash"])),
        )  # fmt: skip

    def departed(self, spec: Spec, source: str) -> Iterator[Rows]:
        """Lists of products that are there no more."""
        targets = self.targets.take(pa.array(self.gone))
        for target in pc.unique(targets).to_pylist():
            if target not in spec.taxonomy.targets[source]:
                continue
            own = self.gone[pc.equal(targets, target).to_numpy(zero_copy_only=False)]
            yield emit.removed("complements", spec.slot(source, target), self.ids.take(pa.array(own)))

    def differ(
        self, pages: Int64, slot: emit.Slot, size: Int32, feasible: Int32, level: npt.NDArray[np.int8], hashed: UInt64
    ) -> Bools:
        """Where tonight's list (of these pages, for this slot) is another one than the earlier night's."""
        at = self.at[pages, slot.slot]
        same = at >= 0
        if not same.any():
            return ~same
        old = np.maximum(at, 0)
        same &= (self.size[old] == size) & (self.feasible[old] == feasible) & (self.slot[old] == slot.slot)
        same &= self.level[old] == level
        same &= (self.hashed[old] == hashed).all(axis=1)
        return ~same


def _holding(spec: Spec, task: Update) -> dict[str, Bools]:
    """By file of the category's `candidates`: which of its rows hold."""
    lake, parts = lake_of(spec), []
    for name in task.neighbour_files:
        parts.append(pq.read_table(lake.open_file(name), columns=list(KEY)))
    if not parts:
        return {}
    holds = live(pa.concat_tables([p.cast(parts[0].schema) for p in parts]))
    ends = np.cumsum([len(p) for p in parts])
    return {n: holds[e - len(p) : e] for n, p, e in zip(task.neighbour_files, parts, ends, strict=True)}


def _opened(file: pa.NativeFile) -> pq.ParquetFile:
    schema = pq.read_metadata(file).schema
    paths = [schema.column(n).path for n in range(len(schema))]
    file.seek(0)
    return pq.ParquetFile(file, read_dictionary=[p for p in paths if p.split(".")[0] in _DICTIONARY])


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = _only(column)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _encoded(column: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    array = _only(column) if isinstance(column, pa.ChunkedArray) else column
    return array if pa.types.is_dictionary(array.type) else array.dictionary_encode()


def _only(column: pa.ChunkedArray) -> pa.Array:
    """A row group's column: one piece."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    return array


def _joined(parts: Sequence[pa.DictionaryArray]) -> tuple[Int32, pa.Array]:
    """Codes and names of all, a name as often as it stands in one of them."""
    starts = np.cumsum([0, *(len(p.dictionary) for p in parts)])
    codes = [p.indices.to_numpy(zero_copy_only=False) + s for p, s in zip(parts, starts, strict=False)]
    return np.concatenate(codes).astype(np.int32, copy=False), pa.concat_arrays([p.dictionary for p in parts])


def _unified(parts: Sequence[pa.DictionaryArray]) -> pa.DictionaryArray:
    """Parts whose names are few as one, each name once."""
    array = pa.chunked_array(parts).unify_dictionaries().combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
