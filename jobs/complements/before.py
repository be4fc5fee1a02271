"""What an earlier night left, as arrays: stored neighbours, some thousand rows at a time, and published lists."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.complements import emit
from jobs.complements.emit import Figures, Rows
from jobs.complements.gallery import LEVELS, Gallery
from jobs.complements.generations import KEY, live
from jobs.complements.hashing import UInt64, lanes_of
from jobs.complements.score import Bools, Int32, Int64
from jobs.complements.tasks import Update
from jobs.complements.worker import GalleryKey, Spec, gallery_key, opened_gallery
from jobs.lake import Lake

GONE, ARRIVED = -1, -2  # a stored neighbour that is possible no more; one that is new tonight
_LISTS = (*KEY, "slot", "size", "feasible", "empty_reason", "level", "list_hash")
_ROWS = 8192  # of candidates brought up to date at once
_DICTIONARY = ("neighbour_ids", "item_id", "target_category", "level")  # read as codes and names, as they are stored


@dataclass(frozen=True)
class Stored:
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
    def of(cls, parts: Sequence[pa.Table], keep: Int64, source: Gallery) -> Stored:
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
        """Of each name the row of the target's gallery; GONE where it is no possible target, ARRIVED a new one."""
        if not len(target):
            return np.full(len(self.names), GONE, dtype=np.int64)
        rows = pc.fill_null(pc.index_in(self.names, value_set=target.ids), -1).to_numpy().astype(np.int64)
        there = (rows >= 0) & target.has_vector[np.maximum(rows, 0)]
        return np.where(there, np.where(target.arrived[np.maximum(rows, 0)], ARRIVED, rows), GONE)


@dataclass(frozen=True)
class Published:
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
    def of(cls, tables: Sequence[pa.Table], source: Gallery, targets: Sequence[str]) -> Published:
        kept = [t.filter(pa.array(h)) for t, h in zip(tables, _split(live, tables), strict=True)]
        ids, target, level, hashed = (
            pa.concat_arrays([pa.array([], pa.string()), *(_plain(t[n]) for t in kept)])
            for n in ("item_id", "target_category", "level", "list_hash")
        )
        size, feasible, slot = (
            np.concatenate([np.zeros(0, np.int32), *(t[n].to_numpy().astype(np.int32) for t in kept)])
            for n in ("size", "feasible", "slot")
        )
        page, place, height = (
            pc.fill_null(pc.index_in(a, value_set=v), -1).to_numpy(zero_copy_only=False).astype(np.int64)
            for a, v in (
                (ids, source.ids), (target, pa.array(targets, pa.string())), (level, pa.array(LEVELS)),
            )
        )  # fmt: skip
        at = np.full((len(source), len(targets)), -1, dtype=np.int64)
        there = (page >= 0) & (place >= 0)
        at[page[there], place[there]] = np.flatnonzero(there)
        return cls(
            at, ids, target, np.flatnonzero(~there), size, feasible, height.astype(np.int8), slot, lanes_of(hashed)
        )

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


def stored(lake: Lake, name: str, holds: Bools, source: Gallery, figures: Figures) -> Iterator[Stored]:
    """A file of `candidates`, some thousand rows at a time: what a night writes of them becomes a row group."""
    at, t0 = 0, time.perf_counter()
    with _opened(lake.open_file(name)) as f:
        parts: list[pa.Table] = []
        for group in range(f.num_row_groups):
            parts.append(f.read_row_group(group))
            rows = sum(map(len, parts))
            if rows < _ROWS and group + 1 < f.num_row_groups:
                continue
            some = Stored.of(parts, np.flatnonzero(holds[at : at + rows]), source)
            at, parts = at + rows, []
            figures.read_s += time.perf_counter() - t0
            yield some
            t0 = time.perf_counter()


@dataclass(frozen=True)
class Earlier:
    """Of a source category: the earlier night's lists, and by file of `candidates` which of its rows hold."""

    lists: Published
    holds: dict[str, Bools]


def earlier(spec: Spec, task: Update) -> Earlier:
    """Read once by a worker for all of a category's tasks, which come one after the other."""
    key, targets = gallery_key(spec, task.source), tuple(spec.taxonomy.targets[task.source])
    return _earlier(key, targets, task.lists_files, task.neighbour_files)


@lru_cache(maxsize=1)
def _earlier(
    key: GalleryKey, targets: tuple[str, ...], lists_files: tuple[str, ...], neighbour_files: tuple[str, ...]
) -> Earlier:
    lake = Lake(key[0], s3_endpoint_url=key[1])
    tables = [_opened(lake.open_file(f)).read(list(_LISTS)) for f in lists_files]
    keys = [_opened(lake.open_file(f)).read(list(KEY)) for f in neighbour_files]
    by_file = dict(zip(neighbour_files, _split(live, keys), strict=True))
    return Earlier(Published.of(tables, opened_gallery(key), targets), by_file)


def _split(of: Callable[[pa.Table], Bools], tables: Sequence[pa.Table]) -> list[Bools]:
    """A column over all tables together, cut into theirs."""
    if not tables:
        return []
    whole = of(pa.concat_tables([t.select(list(KEY)) for t in tables]))
    return np.split(whole, np.cumsum([len(t) for t in tables])[:-1])


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
