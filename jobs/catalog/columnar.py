"""Parquet files and Delta tables as records of text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.catalog.rows import Notes, RawRow, Source
from jobs.errors import DataError
from schemas.tables import MANY

_ROWS = 16384


def parquet(path: Path, notes: Notes, wanted: Collection[str]) -> Source:
    """A Parquet file, its `wanted` columns where there are any. Raises DataError where it is none, or damaged."""
    notes.kind = "Parquet"
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"{path}: not a readable Parquet file: {e}") from e
    names = tuple(file.schema_arrow.names)
    return Source(
        names, _records(path, file.iter_batches(batch_size=_ROWS, columns=_plain(file.schema_arrow, wanted)), notes)
    )


def delta(path: Path, notes: Notes, wanted: Collection[str]) -> Source:
    """The newest version of a Delta table in a folder, likewise. Raises DataError where it cannot be read."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(str(path))
        data = table.to_pyarrow_dataset()
    except (DeltaError, OSError, pa.ArrowException, ValueError) as e:
        raise DataError(f"{path}: not a readable Delta table: {e}") from e
    notes.kind = f"Delta, version {table.version()}"
    # Files in the order of their names, one at a time: the same version gives the same order of rows.
    fragments = sorted(data.get_fragments(), key=lambda f: str(f.path))
    columns = _plain(data.schema, wanted)
    batches = (
        b
        for f in fragments
        for b in f.to_batches(
            schema=data.schema, columns=columns, batch_size=_ROWS, batch_readahead=1, fragment_readahead=1
        )
    )
    return Source(tuple(data.schema.names), _records(path, batches, notes))


def _plain(schema: pa.Schema, wanted: Collection[str]) -> list[str]:
    """The wanted columns, else those of text, numbers, dates or lists of them: never pictures."""
    named = [f.name for f in schema if f.name in wanted]
    types = pa.types
    unfit = (types.is_struct, types.is_map, types.is_binary, types.is_large_binary)
    return named or [f.name for f in schema if not any(is_(f.type) for is_ in unfit)]


def _records(path: Path, batches: Iterable[pa.RecordBatch], notes: Notes) -> Iterator[tuple[int, RawRow]]:
    try:
        for batch in batches:
            for record in batch.to_pylist():
                notes.records += 1
                yield (
                    notes.records,
                    {k: s for k, v in record.items() if v is not None and not k.startswith(" ") and (s := _text(v))},
                )
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"{path}: damaged {notes.kind} file: {e}") from e


def _text(value: object) -> str:
    if isinstance(value, list):
        return MANY.join(t for v in value if v is not None and (t := _text(v)))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
