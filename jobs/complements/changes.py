"""What changed since an earlier night, as far as neighbours go: which pages to search, which targets are new.

Every run leaves `runs/<run_id>/pages.arrow`: per product its category, department, group, level and a digest of the
vector that asks for it. Two nights' files tell what a list of the earlier night still knows. Stock, prices and rules
are not in it: they move nothing but `finish()`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.gallery import Gallery, marked
from jobs.complements.score import Bools
from jobs.lake import Lake

SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("department", pa.int16(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("level", pa.int8(), nullable=False),
        pa.field("vector", pa.binary(16), nullable=False),  # the first 16 bytes of its sha256
    ]
)


@dataclass(frozen=True)
class Changes:
    """Tonight's galleries marked with what is new, and how much that is."""

    galleries: dict[str, Gallery]
    fresh: int  # pages to be searched in full
    arrived: int  # possible targets that are new to the other pages
    departed: int  # products that are there no more, or stand in another category


def pages_of(all_: Mapping[str, Gallery], group_ids: Mapping[str, str]) -> pa.Table:
    """The file's rows for tonight, in item_id order. `group_ids`: item_id → group_id."""
    parts = []
    for category, g in all_.items():
        ids = g.ids.to_pylist()
        digests = [hashlib.sha256(v.tobytes()).digest()[:16] for v in g.vectors]
        columns = [
            g.ids, pa.repeat(pa.scalar(category), len(g)), pa.array(g.department, pa.int16()),
            pa.array([group_ids[i] for i in ids], pa.string()), pa.array(g.level, pa.int8()),
            pa.array(digests, pa.binary(16)),
        ]  # fmt: skip
        parts.append(pa.Table.from_arrays(columns, schema=SCHEMA))
    return pa.concat_tables(parts).sort_by("item_id").combine_chunks()


def save(lake: Lake, run_id: str, pages: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pages.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(pages)
    lake.files.write(_name(run_id), sink.getvalue().to_pybytes())


def load(lake: Lake, run_id: str) -> pa.Table | None:
    """The pages of an earlier run; None where it left none."""
    data = lake.files.read(_name(run_id))
    return None if data is None else pa.ipc.open_file(data).read_all().combine_chunks()


def compare(all_: Mapping[str, Gallery], now: pa.Table, before: pa.Table) -> Changes:
    """Mark what is new tonight.

    A page is fresh where the vector that asks, its level, its category, department or group is another one. A possible
    target has arrived where the same holds for it, or where it had no vector of its own.
    """
    at = pc.index_in(now["item_id"], value_set=before["item_id"].combine_chunks())
    known = at.is_valid().to_numpy(zero_copy_only=False).astype(np.bool_)
    same = known.copy()
    old = before.take(pc.fill_null(at, 0)) if len(before) else None
    if old is not None:
        for name in ("category", "department", "group_id", "level", "vector"):
            same &= pc.equal(now[name], old[name]).to_numpy(zero_copy_only=False).astype(np.bool_)
    out, fresh_pages, arrived = {}, 0, 0
    position = now["item_id"].combine_chunks()
    for category, g in all_.items():
        where = pc.index_in(g.ids, value_set=position).to_numpy(zero_copy_only=False) if len(g) else np.zeros(0, int)
        fresh: Bools = ~same[where]
        new = fresh & g.has_vector
        out[category] = marked(g, fresh, new)
        fresh_pages += int(fresh.sum())
        arrived += int(new.sum())
    stayed = int((known & _same(now, old, "category")).sum()) if old is not None else 0
    return Changes(out, fresh_pages, arrived, len(before) - stayed)


def _same(now: pa.Table, old: pa.Table, name: str) -> Bools:
    return np.asarray(pc.equal(now[name], old[name]).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _name(run_id: str) -> str:
    return f"runs/{run_id}/pages.arrow"
