"""The published content of a run: its lists, streamed item by item, and the hash that names them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.generations import read_live
from jobs.errors import DataError
from jobs.lake import Lake
from jobs.publish.store import ListedItem, ListRow, ProductRow, SlotList
from jobs.runs import Manifest

BLOCK_ITEMS = 20_000  # products read at once: about 20,000 x 10 slots x 24 items x 60 bytes = 300 MB of Arrow


@dataclass(frozen=True)
class Content:
    """What a release will hold. `lists` are non-empty slots, `items` the products that have one."""

    content_hash: str
    lists: int
    items: int
    empty: int  # slots without an item; not written, the lake knows why


class RunLists:
    """A run's complement lists at the version its manifest names, restricted to its model and categories."""

    def __init__(self, lake: Lake, manifest: Manifest, k: int) -> None:
        self.lake, self.plan, self.k = lake, manifest.plan, k
        self.model = manifest.plan.inputs.model_version
        self.version = manifest.version("complements")
        if self.version < 0:
            raise DataError(f"{self.plan.run_id}: no lists yet; run `medal complements --run-id {self.plan.run_id}`")

    def _read(self, category: str, columns: list[str], *more: tuple[str, str, Any]) -> pa.Table:
        where = [("model_version", "=", self.model), ("source_category", "=", category), *more]
        return read_live(self.lake, "complements", self.version, columns=columns, filters=where)

    def content(self) -> Content:
        """Counts and hash, from the small columns alone.

        The hash covers, in order, every published list's product, slot, target and `list_hash`, with k and the model:
        equal hashes mean that readers would see the same.
        """
        sha = hashlib.sha256(json.dumps([self.k, self.model]).encode())
        lists = items = empty = 0
        for category in sorted(self.plan.categories):
            rows = self._read(category, ["item_id", "target_category", "slot", "size", "list_hash"])
            empty += rows.num_rows
            rows = rows.filter(pc.greater(rows["size"], 0))
            empty -= rows.num_rows
            rows = rows.take(pc.sort_indices(rows, [("item_id", "ascending"), ("slot", "ascending")]))
            lists += rows.num_rows
            items += pc.count_distinct(rows["item_id"]).as_py()
            for batch in rows.to_batches(max_chunksize=50_000):
                columns = (batch[c].to_pylist() for c in ("item_id", "slot", "target_category", "list_hash"))
                for row in zip(*columns, strict=True):
                    sha.update(json.dumps(row).encode())
        return Content(sha.hexdigest(), lists, items, empty)

    def rows(self) -> Iterator[ListRow]:
        """Every product that has a non-empty slot, by category and item_id; memory is that of one block."""
        for category in sorted(self.plan.categories):
            ids = pc.unique(self._read(category, ["item_id"])["item_id"]).to_pylist()
            ids.sort(key=str.encode)  # as Parquet's filters compare
            for start in range(0, len(ids), BLOCK_ITEMS):
                block = ids[start : start + BLOCK_ITEMS]
                yield from self._block(category, block[0], block[-1])

    def _block(self, category: str, first: str, last: str) -> Iterator[ListRow]:
        columns = ["item_id", "target_category", "slot", "items", "size"]
        rows = self._read(category, columns, ("item_id", ">=", first), ("item_id", "<=", last))
        rows = rows.filter(pc.greater(rows["size"], 0))
        rows = rows.take(pc.sort_indices(rows, [("item_id", "ascending"), ("slot", "ascending")]))
        item: str | None = None
        slots: list[SlotList] = []
        for batch in rows.to_batches(max_chunksize=1000):
            for row in batch.to_pylist():
                if row["item_id"] != item:
                    if item is not None:
                        yield ListRow(item, tuple(slots))
                    item, slots = row["item_id"], []
                listed = (
                    ListedItem(i["item_id"], i["score"], i["visual"], i["colour"], i["reason"]) for i in row["items"]
                )
                slots.append(SlotList(row["target_category"], tuple(listed)))
        if item is not None:
            yield ListRow(item, tuple(slots))


def product_rows(lake: Lake, manifest: Manifest) -> Iterator[ProductRow]:
    """The run's catalogue snapshot as rows of the overlay."""
    names = [f.name for f in fields(ProductRow)]
    date = manifest.plan.run_date
    rows = lake.read("catalog", manifest.version("catalog"), columns=names, filters=[("snapshot", "=", date)])
    for batch in rows.to_batches(max_chunksize=5000):
        for row in batch.to_pylist():
            if row["price"] is not None and not math.isfinite(row["price"]):
                row["price"] = None
            yield ProductRow(**row)
