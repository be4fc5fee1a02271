"""Data files of both tables, written by whoever computed the rows; the driver commits them (`commit.py`).

A file is one table and source category of one Spark task. A task that is tried again writes files of other names, and
only those of the try that came to its end are committed: what another one left is in no version of the table.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.complements.emit import STORED, Figures, Rows
from jobs.complements.hashing import Digest
from jobs.errors import TransientError
from jobs.lake import Lake

ROW_GROUP = 2048  # rows, at least: smaller batches are put together
FILE_BYTES = 256 << 20  # a file that has grown past this is closed, and another begun
# Dictionaries where texts repeat: of numbers that hardly do they would cost more than half of the writing.
TEXTS = ("neighbour_ids.list.element", "items.list.element.item_id", "items.list.element.reason", "item_id",
         "target_category", "level", "empty_reason")  # fmt: skip


@dataclass(frozen=True)
class DataFile:
    """A finished file, not yet part of its table."""

    table: str
    category: str
    path: str  # relative to the table's root
    size: int
    least: str  # item ids
    greatest: str
    content: Digest

    @property
    def rows(self) -> int:
        return self.content.rows


@dataclass
class _Open:
    table: str
    category: str
    path: str
    scratch: Path
    writer: pq.ParquetWriter
    sink: pa.NativeFile
    waiting: list[pa.RecordBatch] = field(default_factory=list)
    content: Digest = field(default_factory=Digest)
    least: str | None = None
    greatest: str | None = None

    def flush(self) -> None:
        if self.waiting:
            self.writer.write_table(pa.Table.from_batches(self.waiting))
            self.waiting = []


class Writer:
    """The files of one task. `add` rows as they come, then `close`."""

    def __init__(self, lake: Lake, model_version: str) -> None:
        self.lake, self.model_version = lake, model_version
        self.open: dict[tuple[str, str], _Open] = {}
        self.done: list[DataFile] = []

    def add(self, rows: Rows) -> None:
        """Raises TransientError where there is no room."""
        if not rows.content.rows:
            return
        try:
            self._add(rows)
        except OSError as e:
            raise self._failed(rows.table, e) from e

    def close(self) -> list[DataFile]:
        """All files of the task. Raises TransientError where one cannot be put in its place."""
        for key in list(self.open):
            self._finish(key)
        return self.done

    def abandon(self) -> None:
        """What is written so far is nobody's."""
        for file in self.open.values():
            with suppress(OSError):
                file.writer.close()
            file.sink.close()
            file.scratch.unlink(missing_ok=True)
        self.open = {}

    def _add(self, rows: Rows) -> None:
        key = (rows.table, rows.category)
        if key not in self.open:
            self.open[key] = self._new(*key)
        file = self.open[key]
        file.waiting.append(rows.batch)
        if sum(map(len, file.waiting)) >= ROW_GROUP:
            file.flush()
        ends = pc.min_max(rows.batch.column("item_id")).as_py()
        file.least = min(file.least or ends["min"], ends["min"])
        file.greatest = max(file.greatest or ends["max"], ends["max"])
        file.content += rows.content
        if file.sink.tell() > FILE_BYTES:
            self._finish(key)

    def _new(self, table: str, category: str) -> _Open:
        path = f"{_folder(model_version=self.model_version, source_category=category)}/part-{uuid.uuid4().hex}.parquet"
        scratch = self.lake.files.scratch(f"tables/{table}/{path}")
        sink = pa.OSFile(str(scratch), "wb")
        writer = pq.ParquetWriter(
            sink, STORED[table], compression="snappy", use_dictionary=list(TEXTS), write_statistics=["item_id"],
            store_schema=False,
        )  # fmt: skip
        return _Open(table, category, path, scratch, writer, sink)

    def _finish(self, key: tuple[str, str]) -> None:
        file = self.open.pop(key)
        try:
            file.flush()
            file.writer.close()
            size = file.sink.tell()
            file.sink.close()
            self.lake.files.place(file.scratch, f"tables/{file.table}/{file.path}")
        except OSError as e:
            raise self._failed(file.table, e) from e
        ends = (file.least or "", file.greatest or "")
        self.done.append(DataFile(file.table, file.category, file.path, size, *ends, file.content))

    def _failed(self, table: str, e: OSError) -> TransientError:
        where = self.lake.uri(table)
        return TransientError(f"table {table}: a file could not be written under {where}: {e}; make room, run it again")


def _folder(**values: str) -> str:
    """As other writers name a partition's folder; what may not stand in a path, or would be escaped, is an underscore.
    Readers take a partition's values from the table's log."""
    return "/".join(f"{name}={re.sub(r'[^A-Za-z0-9._-]', '_', value)}" for name, value in values.items())


def report(files: Sequence[DataFile], figures: Figures) -> str:
    """What a task did, for the driver."""
    return json.dumps({"files": [asdict(f) for f in files], "figures": asdict(figures)})


def read_reports(reports: Iterable[str]) -> tuple[list[DataFile], Figures]:
    """Files and figures of all tasks together."""
    files, figures = [], Figures()
    for said in map(json.loads, reports):
        files += [DataFile(**{**f, "content": Digest(**f["content"])}) for f in said["files"]]
        figures.add(Figures(**said["figures"]))
    return files, figures
