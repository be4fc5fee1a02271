"""The lake: Delta tables, run manifests, and writes that happen exactly once.

delta-rs side. Spark writes go through `jobs.spark`, which uses the same locations and transaction ids.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError

from jobs.errors import DataError, TransientError
from jobs.runs import Manifest, RunId
from schemas.tables import TABLES, Table

NO_TABLE = -1
PARTS = 1_000_000  # a transaction version is generation * PARTS + part, so that slices need no id of their own
_DEFAULTS = {"written": 0, "removed": False}  # of columns that tables did not always have; others are null
_RETENTION = {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "none"}


@dataclass(frozen=True)
class Commit:
    """A commit found in a table's history: its version and the run and slice that made it."""

    version: int
    run_id: str
    part: int


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
        for field in schema:
            if field.name not in there:  # a lake from before the column was added
                got = got.append_column(
                    field.name, pa.repeat(pa.scalar(_DEFAULTS.get(field.name), field.type), len(got))
                )
        return got.select(schema.names).cast(schema)

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
            if entry.get("userMetadata"):  # Spark keeps ours here
                try:
                    meta = json.loads(entry["userMetadata"])
                except ValueError:
                    continue
            found = meta.get("medal_run_id")
            if found and (run_id is None or found == run_id):
                yield Commit(int(entry["version"]), str(found), int(meta.get("medal_part", 0)))

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

    def _write(
        self, table: str, rows: pa.Table, run: RunId, part: int, model_version: str, *, mode: Any, predicate: str | None
    ) -> int:
        spec = TABLES[table]
        if spec.writer != "delta-rs":
            raise ValueError(f"table {table} is written by {spec.writer}")
        app_id = txn_app_id(table, run, model_version)
        txn = run.generation * PARTS + part
        exists = self.version(table) != NO_TABLE
        if exists:
            last = DeltaTable(self.uri(table), storage_options=self.storage_options).transaction_version(app_id)
            if last is not None and last >= txn:
                found = self.committed(table, str(run), part)
                if found is None:
                    raise DataError(
                        f"table {table}: transaction {last} of {app_id} is committed, yet {run} part {part} left no "
                        "commit; plan the date again with --recompute"
                    )
                return found
        try:
            write_deltalake(
                self.uri(table),
                rows.select(spec.schema.names).cast(spec.schema),
                mode=mode,
                predicate=predicate if exists else None,
                schema_mode="merge" if exists else None,  # a table may be older than a column of its contract
                partition_by=list(spec.partition_by) or None if not exists else None,
                configuration=None if exists else _RETENTION,
                storage_options=self.storage_options,
                commit_properties=CommitProperties(
                    custom_metadata={"medal_run_id": str(run), "medal_part": str(part)},
                    app_transactions=[Transaction(app_id, txn)],
                ),
            )
        except OSError as e:
            raise TransientError(f"table {table}: write to {self.uri(table)} failed: {e}; run the stage again") from e
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


def txn_app_id(table: str, run: RunId, model_version: str) -> str:
    """Transaction id of a write: generations count within date, scope and model (design section 4)."""
    return f"medal/{table}/{run.run_date}/{run.scope}/{model_version or '-'}"


class Files:
    """Small files beside the tables: manifests, reports, the lease."""

    def read(self, name: str) -> bytes | None:
        raise NotImplementedError

    def write(self, name: str, data: bytes) -> None:
        """Replace a file as a whole; a reader sees the old or the new one."""
        raise NotImplementedError

    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists; False where it does."""
        raise NotImplementedError

    def swap(self, name: str, old: bytes, new: bytes | None) -> bool:
        """Replace (or with None delete) a file only while its content is `old`; False otherwise."""
        raise NotImplementedError

    def list(self, prefix: str) -> list[str]:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Delete a file; nothing where it is not there."""
        raise NotImplementedError


class LocalFiles(Files):
    """In a folder. Writes go to a temporary name first; `swap` holds a lock file's flock."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with tmp.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        tmp.replace(path)

    def create(self, name: str, data: bytes) -> bool:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        tmp.write_bytes(data)
        try:
            os.link(tmp, path)  # fails where the name exists, and shows the whole content or nothing
        except FileExistsError:
            return False
        finally:
            tmp.unlink()
        return True

    def swap(self, name: str, old: bytes, new: bytes | None) -> bool:
        import fcntl

        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.read(name) != old:
                return False
            if new is None:
                path.unlink(missing_ok=True)
            else:
                self.write(name, new)
        return True

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def list(self, prefix: str) -> list[str]:
        base = self.root / prefix
        if not base.is_dir():
            return []
        return sorted(str(p.relative_to(self.root)) for p in base.rglob("*") if p.is_file())


class S3Files(Files):
    """In a bucket, by conditional writes (If-None-Match, If-Match)."""

    def __init__(self, root: str, endpoint_url: str | None) -> None:
        import boto3

        self.bucket, _, self.prefix = root.removeprefix("s3://").partition("/")
        self._s3 = boto3.Session().client("s3", endpoint_url=endpoint_url)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _get(self, name: str) -> tuple[bytes, str] | None:
        try:
            got = self._s3.get_object(Bucket=self.bucket, Key=self._key(name))
        except self._s3.exceptions.NoSuchKey:
            return None
        return got["Body"].read(), got["ETag"]

    def read(self, name: str) -> bytes | None:
        got = self._get(name)
        return got[0] if got else None

    def write(self, name: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=self._key(name), Body=data)

    def _put_if(self, name: str, data: bytes, **condition: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._s3.put_object(Bucket=self.bucket, Key=self._key(name), Body=data, **condition)  # type: ignore[arg-type]
        except ClientError as e:
            if e.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (404, 409, 412):
                return False
            raise
        return True

    def create(self, name: str, data: bytes) -> bool:
        return self._put_if(name, data, IfNoneMatch="*")

    def swap(self, name: str, old: bytes, new: bytes | None) -> bool:
        got = self._get(name)
        if got is None or got[0] != old:
            return False
        # A delete cannot be conditional everywhere: an empty object means "no lease" (jobs.lease).
        return self._put_if(name, new or b"", IfMatch=got[1])

    def remove(self, name: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=self._key(name))

    def list(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
        strip = len(self.prefix) + 1 if self.prefix else 0
        return sorted(o["Key"][strip:] for page in pages for o in page.get("Contents", []))
