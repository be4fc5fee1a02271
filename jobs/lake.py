"""The lake: Delta tables, run manifests, and writes that happen exactly once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.table import FilterConjunctionType
from deltalake.transaction import AddAction, create_table_with_add_actions

from jobs.errors import DataError, TransientError
from jobs.files import Files, LocalFiles, S3Files
from jobs.runs import Manifest, RunId
from schemas.tables import TABLES, Table

NO_TABLE = -1
PARTS = 1_000_000  # a transaction version is generation * PARTS + part, so that slices need no id of their own
_DEFAULTS = {"written": 0, "removed": False}  # of columns that tables did not always have; others are null
_COLOURS = re.compile("\x1b\\[[0-9;]*m")  # delta-rs tells its errors to a terminal, on many lines
_RETENTION = {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "none"}


@dataclass(frozen=True)
class Commit:
    """A commit found in a table's history: its version and the run and slice that made it."""

    version: int
    run_id: str
    part: int
    about: Mapping[str, Any] = field(repr=False, default_factory=dict)  # what else the writer said


class Lake:
    """Tables and runs under one root, a folder or `s3://bucket/prefix`."""

    def __init__(self, root: str, *, s3_endpoint_url: str | None = None) -> None:
        self.root = root.rstrip("/") if "://" in root else str(Path(root).resolve())
        self.is_s3 = self.root.startswith("s3://")
        self.storage_options: dict[str, str] | None = None
        self.s3_endpoint_url = s3_endpoint_url
        if self.is_s3 and s3_endpoint_url:
            self.storage_options = {
                "AWS_ENDPOINT_URL": s3_endpoint_url,
                "AWS_ALLOW_HTTP": str(s3_endpoint_url.startswith("http://")).lower(),
                "aws_conditional_put": "etag",
            }
        elif self.is_s3:
            self.storage_options = {"aws_conditional_put": "etag"}
        self.files: Files = S3Files(self.root, s3_endpoint_url) if self.is_s3 else LocalFiles(Path(self.root))

    # --- tables -----------------------------------------------------------------------------------------------

    def uri(self, table: str) -> str:
        return f"{self.root}/tables/{table}"

    def spark_uri(self, table: str) -> str:
        return self.uri(table).replace("s3://", "s3a://", 1)

    def version(self, table: str) -> int:
        """The newest version; NO_TABLE where the table does not exist. For planning and for the lease holder."""
        try:
            return int(DeltaTable(self.uri(table), storage_options=self.storage_options).version())
        except TableNotFoundError:
            return NO_TABLE

    def open(self, table: str, version: int) -> DeltaTable:
        """A table at a version. Raises DataError where that version cannot be read."""
        try:
            return DeltaTable(self.uri(table), version=version, storage_options=self.storage_options)
        except Exception as e:
            raise DataError(
                f"table {table}: version {version} cannot be read from {self.uri(table)}: {e}; plan the date again"
            ) from e

    def read(
        self,
        table: str,
        version: int,
        *,
        columns: Sequence[str] | None = None,
        filters: Sequence[tuple[str, str, Any]] | None = None,
    ) -> pa.Table:
        """Rows of a table at a version as Arrow, columns in contract order; empty where version is NO_TABLE."""
        spec = TABLES[table]
        schema = spec.schema if columns is None else pa.schema([spec.schema.field(c) for c in columns])
        if version == NO_TABLE:
            return schema.empty_table()
        opened = self.open(table, version)
        there = {f.name for f in opened.schema().fields}
        got = opened.to_pyarrow_table(
            columns=[n for n in schema.names if n in there], filters=list(filters) if filters else None
        )
        for column in schema:
            if column.name not in there:  # a lake from before the column was added
                value = pa.scalar(_DEFAULTS.get(column.name), column.type)
                got = got.append_column(column.name, pa.repeat(value, len(got)))
        return got.select(schema.names).cast(schema)

    def rows(self, table: str, version: int, partitions: Mapping[str, Sequence[str]]) -> int:
        """Rows of some partitions (column → values), by the table's log; files without a count are passed over."""
        if version == NO_TABLE:
            return 0
        found = pa.table(self.open(table, version).get_add_actions(flatten=True))
        for name, values in partitions.items():
            found = found.filter(pc.is_in(found[f"partition.{name}"], value_set=pa.array(values)))
        return int(pc.sum(found["num_records"]).as_py() or 0)

    def open_file(self, uri: str) -> pa.NativeFile:
        """A data file of a table (an address that Delta gives) for reading at random."""
        if not uri.startswith("s3://"):
            return pa.memory_map(uri.removeprefix("file://"))
        data = self.files.read(uri.removeprefix(self.root + "/"))
        if data is None:
            raise DataError(f"{uri}: is not there, though its table names it; plan the date again with --recompute")
        return pa.BufferReader(data)

    def commits(self, table: str, *, run_id: str | None = None, limit: int | None = None) -> Iterator[Commit]:
        """Commits of runs in a table's history, newest first."""
        if self.version(table) == NO_TABLE:
            return
        history = DeltaTable(self.uri(table), storage_options=self.storage_options).history(limit)
        for entry in history:
            meta: Mapping[str, Any] = entry
            if entry.get("userMetadata"):  # Spark, which wrote the lists once, keeps ours here
                try:
                    meta = json.loads(entry["userMetadata"])
                except ValueError:
                    continue
            found = meta.get("medal_run_id")
            if found and (run_id is None or found == run_id):
                yield Commit(int(entry["version"]), str(found), int(meta.get("medal_part", 0)), meta)

    def committed(self, table: str, run_id: str, part: int = 0) -> int | None:
        """Version in which a run wrote a part, or None: how a run killed before its manifest finds its work."""
        return next((c.version for c in self.commits(table, run_id=run_id) if c.part == part), None)

    def append(self, table: str, rows: pa.Table, run: RunId, *, part: int = 0, model_version: str = "") -> int:
        """Append rows exactly once for (run, part). Returns the version that holds them.

        Called under the lease. Parts are numbered upwards; appending a part again, or one below the last
        committed, writes nothing and returns the earlier version.
        """
        return self._write(table, rows, run, part, model_version, mode="append", predicate=None)

    def replace(
        self, table: str, rows: pa.Table, run: RunId, *, predicate: str, part: int = 0, model_version: str = ""
    ) -> int:
        """Replace the rows that match `predicate` exactly once for (run, part). Returns the version."""
        return self._write(table, rows, run, part, model_version, mode="overwrite", predicate=predicate)

    def amend(self, table: str, rows: pa.Table, *, predicate: str, why: str) -> int:
        """Replace the rows that match `predicate`, by a person and in no run. Called under the lease."""
        try:
            write_deltalake(
                self.uri(table), rows.select(TABLES[table].schema.names).cast(TABLES[table].schema), mode="overwrite",
                predicate=predicate, storage_options=self.storage_options,
                commit_properties=CommitProperties(custom_metadata={"medal_amended": why}),
            )  # fmt: skip
        except (OSError, CommitFailedError) as e:
            raise TransientError(f"table {table}: write to {self.uri(table)} failed: {e}; run the command again") from e
        return self.version(table)

    def commit_files(
        self, table: str, files: Sequence[AddAction], run: RunId, *, model_version: str,
        replaced: FilterConjunctionType | None, about: Mapping[str, str],
    ) -> int:  # fmt: skip
        """Make data files that are in their place part of a table, exactly once for a run. Returns the version.

        `replaced`: partitions whose files they stand for (none of which stays); None: they are added. `about` is kept
        with the commit. Called under the lease.
        """
        spec = TABLES[table]

        def write(opened: DeltaTable | None, properties: CommitProperties) -> None:
            partitions = list(spec.partition_by)
            if opened is None:
                create_table_with_add_actions(
                    self.uri(table), Schema.from_arrow(spec.schema), list(files), partition_by=partitions,
                    configuration=_RETENTION, storage_options=self.storage_options, commit_properties=properties,
                )  # fmt: skip
                return
            _add_missing_columns(opened, spec)
            mode = "append" if replaced is None else "overwrite"
            opened.create_write_transaction(
                list(files), mode, opened.schema(), partitions, partition_filters=replaced, commit_properties=properties
            )

        return self._once(table, run, 0, model_version, write, about)

    def _write(
        self, table: str, rows: pa.Table, run: RunId, part: int, model_version: str, *, mode: Any, predicate: str | None
    ) -> int:
        spec = TABLES[table]

        def write(opened: DeltaTable | None, properties: CommitProperties) -> None:
            write_deltalake(
                self.uri(table),
                rows.select(spec.schema.names).cast(spec.schema),
                mode=mode,
                predicate=predicate if opened else None,
                schema_mode="merge" if opened else None,  # a table may be older than a column of its contract
                partition_by=list(spec.partition_by) or None if not opened else None,
                configuration=None if opened else _RETENTION,
                storage_options=self.storage_options,
                commit_properties=properties,
            )

        return self._once(table, run, part, model_version, write, {})

    def _once(
        self, table: str, run: RunId, part: int, model_version: str,
        write: Callable[[DeltaTable | None, CommitProperties], None], about: Mapping[str, str],
    ) -> int:  # fmt: skip
        """`write` (to the table, None where there is none yet) unless (run, part) is committed. Returns the version."""
        app_id = txn_app_id(table, run, model_version)
        txn = run.generation * PARTS + part
        opened: DeltaTable | None = None
        with suppress(TableNotFoundError):
            opened = DeltaTable(self.uri(table), storage_options=self.storage_options)
        last = None if opened is None else opened.transaction_version(app_id)
        if last is not None and last >= txn:
            found = self.committed(table, str(run), part)
            if found is None:
                raise DataError(
                    f"table {table}: transaction {last} of {app_id} is committed, yet {run} part {part} left no "
                    "commit; plan the date again with --recompute"
                )
            return found
        properties = CommitProperties(
            custom_metadata={"medal_run_id": str(run), "medal_part": str(part), **about},
            app_transactions=[Transaction(app_id, txn)],
        )
        try:
            write(opened, properties)
        except (OSError, CommitFailedError) as e:
            told = " ".join(_COLOURS.sub("", str(e)).split())
            raise TransientError(
                f"table {table}: write to {self.uri(table)} failed: {told}; run the stage again"
            ) from e
        found = self.committed(table, str(run), part)
        if found is None:
            raise TransientError(f"table {table}: the commit of {run} is not in the history; run the stage again")
        return found

    def log(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Append rows to a log table; log tables may grow by every try."""
        spec: Table = TABLES[table]
        if rows:
            write_deltalake(
                self.uri(table),
                pa.Table.from_pylist(rows, schema=spec.schema),
                mode="append",
                storage_options=self.storage_options,
            )

    # --- runs -------------------------------------------------------------------------------------------------

    def run_uri(self, run_id: str) -> str:
        return f"{self.root}/runs/{run_id}"

    def save_manifest(self, manifest: Manifest) -> None:
        self.files.write(f"runs/{manifest.plan.run_id}/manifest.json", manifest.to_json().encode())

    def manifest(self, run_id: str) -> Manifest:
        """A run's manifest. Raises DataError where there is none."""
        RunId.parse(run_id)
        name = f"runs/{run_id}/manifest.json"
        data = self.files.read(name)
        if data is None:
            raise DataError(f"{self.root}/{name}: no such run; `medal runs` lists them, `medal plan` makes one")
        return Manifest.from_json(data.decode(), name)

    def runs(self) -> list[RunId]:
        """All planned runs, oldest first."""
        found = []
        for name in self.files.list("runs/"):
            parts = name.split("/")
            if len(parts) == 3 and parts[2] == "manifest.json":
                found.append(RunId.parse(parts[1]))
        return sorted(found)


def _add_missing_columns(opened: DeltaTable, spec: Table) -> None:
    """A table may be older than a column of its contract."""
    there = {f.name for f in opened.schema().fields}
    if new := [f.with_nullable(True) for f in spec.schema if f.name not in there]:
        opened.alter.add_columns(Schema.from_arrow(pa.schema(new)).fields)


def txn_app_id(table: str, run: RunId, model_version: str) -> str:
    """Transaction id of a write: generations count within date, scope and model (design section 4)."""
    return f"medal/{table}/{run.run_date}/{run.scope}/{model_version or '-'}"
