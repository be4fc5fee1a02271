"""Lists as rows of both tables. A batch is one source category × department × target category."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.complements.finish import REASONS, SCORED, Lists
from jobs.complements.gallery import LEVELS, Gallery
from jobs.complements.hashing import Digest, UInt64, as_text, digest, id_words, list_lanes, near_lane, word
from jobs.complements.score import Int32, Int64
from schemas.tables import CANDIDATES, COMPLEMENT, COMPLEMENTS, Table


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
    searched_exactly: int = 0  # those of them where the proposals could not decide
    searched_approximately: int = 0  # those of them by an index (docs/lists.md)
    refilled: int = 0
    by_group: int = 0  # filled lists by the level that asked, where it was not the product itself
    by_product_type: int = 0
    by_category: int = 0
    explored: int = 0  # entries that are new products, drawn by lot
    pins_dropped: int = 0  # pinned or listed items that may not stand there, by pages (docs/rules.md says why)
    pairs: int = 0  # vector pairs compared
    inserted: int = 0  # new targets that entered known neighbours
    search_s: float = 0.0
    rescore_s: float = 0.0
    finish_s: float = 0.0
    read_s: float = 0.0
    write_s: float = 0.0  # columns and files

    def add(self, other: Figures) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


_CODE = pa.dictionary(pa.int32(), pa.string())
_CODED = ("target_category", "neighbour_ids", "items", "empty_reason", "level")


def _coded(kind: pa.DataType) -> pa.DataType:
    """A type with every text in it as codes and names."""
    if pa.types.is_list(kind):
        return pa.list_(_coded(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_coded(f.type)) for f in kind])
    return _CODE if pa.types.is_string(kind) else kind


def _stored(table: Table) -> pa.Schema:
    own = (f for f in table.schema if f.name not in table.partition_by)
    return pa.schema([f.with_type(_coded(f.type)) if f.name in _CODED else f for f in own])


# Columns of the data files (those of the partitions stand in the table's log), texts that repeat as codes and names.
STORED = {t.name: _stored(t) for t in (CANDIDATES, COMPLEMENTS)}
_EMPTY = ("no_vector", "no_target")


@dataclass(frozen=True)
class Rows:
    """Rows of one table, all of one source category."""

    table: str
    category: str
    batch: pa.RecordBatch  # as STORED
    content: Digest


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
    figures.explored += int((lists.reason == REASONS.index("explore")).sum())
    figures.refilled += int(lists.refilled.sum())
    figures.by_group += int((filled & (level == 1)).sum())
    figures.by_product_type += int((filled & (level == 2)).sum())
    figures.by_category += int((filled & (level == 3)).sum())


def lanes(lists: Lists, target: Gallery) -> UInt64:
    """Hashes of lists [N, 2]."""
    return list_lanes(target.words, lists.rows, lists.score, lists.visual, lists.reason, lists.size, SCORED)


def candidates(slot: Slot, source: Gallery, target: Gallery, pages: Int64, near: Near) -> Rows:
    """Neighbours of N pages (rows of the source gallery) as rows of `candidates`."""
    there = near.rows >= 0
    lengths = there.sum(axis=1)
    columns = {
        "item_id": source.ids.take(pa.array(pages)),
        "target_category": _repeated(slot.target, len(pages)),
        "neighbour_ids": _lists(_named(target.ids, near.rows[there]), lengths),
        "scores": _lists(pa.array(near.score[there]), lengths),
        "visuals": _lists(pa.array(near.visual[there]), lengths),
        "horizon": pa.array(near.horizon),
        **_generation(slot, len(pages), removed=False),
    }
    lane = near_lane(target.words, near.rows, near.score, near.visual)
    content = digest(source.words[pages, 0], word(slot.target), lane, near.horizon, slot.written, 0)
    return _rows("candidates", slot, columns, content)


def complements(slot: Slot, source: Gallery, target: Gallery, pages: Int64, lists: Lists, hashed: UInt64) -> Rows:
    """Lists of N pages (rows of the source gallery) and their hashes [N, 2] as rows of `complements`."""
    n = len(pages)
    level = source.level[pages]
    listed = lists.rows >= 0
    scored = SCORED[lists.reason[listed]] == 1
    score, visual = lists.score[listed], lists.visual[listed]
    parts = [
        _named(target.ids, lists.rows[listed]), pa.array(score, mask=~scored), pa.array(visual, mask=~scored),
        pa.array(score - visual, mask=~scored), _numbered(REASONS, lists.reason[listed]),
    ]  # fmt: skip
    why = np.where(lists.size > 0, -1, np.where(level >= 0, 1, 0)).astype(np.int8)
    columns = {
        "item_id": source.ids.take(pa.array(pages)),
        "target_category": _repeated(slot.target, n),
        "slot": pa.repeat(pa.scalar(slot.slot, pa.int32()), n),
        "items": _lists(pa.StructArray.from_arrays(parts, fields=list(_coded(COMPLEMENT))), lists.size),
        "size": pa.array(lists.size),
        "feasible": pa.array(lists.feasible),
        "empty_reason": _numbered(_EMPTY, why),
        "level": _numbered(LEVELS, level),
        "list_hash": as_text(hashed),
        **_generation(slot, n, removed=False),
    }
    content = digest(
        source.words[pages, 0], word(slot.target), hashed[:, 0], hashed[:, 1], lists.size, lists.feasible, level,
        slot.slot, slot.written, 0,
    )  # fmt: skip
    return _rows("complements", slot, columns, content)


def removed(table: str, slot: Slot, ids: pa.Array) -> Rows:
    """Rows that say that keys are no more."""
    n = len(ids)
    zeros = np.zeros(n, dtype=np.int32)
    columns = {
        "item_id": ids,
        "target_category": _repeated(slot.target, n),
        "list_hash": pa.repeat(pa.scalar(""), n),
        **dict.fromkeys(("horizon", "slot", "size", "feasible"), pa.array(zeros)),
        **dict.fromkeys(("empty_reason", "level"), pa.nulls(n, _CODE)),
        **_generation(slot, n, removed=True),
    }
    for field in STORED[table]:
        if pa.types.is_list(field.type):
            columns[field.name] = _lists(pa.array([], field.type.value_type), zeros)
    content = digest(id_words(ids.to_pylist())[:, 0], word(slot.target), slot.written, 1)
    return _rows(table, slot, columns, content)


def _rows(table: str, slot: Slot, columns: dict[str, pa.Array], content: Digest) -> Rows:
    schema = STORED[table]
    batch = pa.RecordBatch.from_arrays([columns[f.name] for f in schema], schema=schema)
    return Rows(table, slot.source, batch, content)


def _generation(slot: Slot, n: int, *, removed: bool) -> dict[str, pa.Array]:
    return {
        "written": pa.repeat(pa.scalar(slot.written, pa.int32()), n),
        "removed": pa.repeat(pa.scalar(removed), n),
    }


def _repeated(text: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))


def _named(names: pa.Array, rows: Int64) -> pa.DictionaryArray:
    """Names of rows as codes, with those names alone that occur: a row group's dictionary."""
    place = np.zeros(len(names), dtype=np.int32)
    place[rows] = 1
    used = np.flatnonzero(place)
    place[used] = np.arange(len(used), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(place[rows]), names.take(pa.array(used)))


def _numbered(names: tuple[str, ...], numbers: npt.NDArray[np.int8]) -> pa.DictionaryArray:
    """Names by number, null for a negative one."""
    missing = numbers < 0
    codes = pa.array(np.where(missing, 0, numbers).astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))


def _lists(values: pa.Array, lengths: npt.NDArray[np.integer]) -> pa.ListArray:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)
