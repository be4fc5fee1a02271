"""Files of a lake: manifests, reports, the lease, and data files that are not part of a table yet."""

from __future__ import annotations

import os
import tempfile
import uuid
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from jobs import s3


class Files(ABC):
    """Files by name, `/` between its parts, under one root."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Replace a file as a whole; a reader sees the old or the new one."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists; False where it does."""

    @abstractmethod
    def swap(self, name: str, old: bytes, new: bytes | None) -> bool:
        """Replace (or with None delete) a file only while its content is `old`; False otherwise."""

    @abstractmethod
    def scratch(self, name: str) -> Path:
        """A local path to write a large file at, before it is placed."""

    @abstractmethod
    def place(self, scratch: Path, name: str) -> None:
        """Put a file written at its `scratch` path in its place."""

    @abstractmethod
    def list(self, prefix: str) -> list[str]:
        """Names under a prefix, in order."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a file; nothing where it is not there."""


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

    def scratch(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")

    def place(self, scratch: Path, name: str) -> None:
        scratch.replace(self.root / name)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def list(self, prefix: str) -> list[str]:
        base = self.root / prefix
        if not base.is_dir():
            return []
        return sorted(str(p.relative_to(self.root)) for p in base.rglob("*") if p.is_file())


class S3Files(Files):
    """In a bucket, by conditional writes (If-None-Match, If-Match).

    Raises SettingsError (no credentials, refused, no such bucket) and TransientError (any other fault of the store).
    """

    def __init__(self, root: str, endpoint_url: str | None) -> None:
        import boto3

        self.bucket, _, self.prefix = root.removeprefix("s3://").partition("/")
        self._s3 = boto3.Session().client("s3", endpoint_url=endpoint_url)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _get(self, name: str) -> tuple[bytes, str] | None:
        """Content and ETag; None where there is none."""

        def get() -> tuple[bytes, str] | None:
            try:
                got = self._s3.get_object(Bucket=self.bucket, Key=self._key(name))
                return got["Body"].read(), got["ETag"]
            except self._s3.exceptions.NoSuchKey:
                return None

        with self._told(name):
            return s3.whole(get)

    def read(self, name: str) -> bytes | None:
        got = self._get(name)
        return got[0] if got else None

    def write(self, name: str, data: bytes) -> None:
        with self._told(name):
            self._s3.put_object(Bucket=self.bucket, Key=self._key(name), Body=data)

    def _put_if(self, name: str, data: bytes, **condition: str) -> bool:
        from botocore.exceptions import ClientError

        with self._told(name):
            try:
                self._s3.put_object(Bucket=self.bucket, Key=self._key(name), Body=data, **condition)  # type: ignore[arg-type]
            except ClientError as e:
                code = e.response.get("Error", {}).get("Code")
                if e.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (404, 409, 412) and (
                    code != "NoSuchBucket"
                ):
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

    def scratch(self, name: str) -> Path:
        return Path(tempfile.gettempdir()) / f"medal-{uuid.uuid4().hex}{Path(name).suffix}"

    def place(self, scratch: Path, name: str) -> None:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._s3.upload_file(str(scratch), self.bucket, self._key(name))
        except (S3UploadFailedError, BotoCoreError, ClientError) as e:
            raise OSError(str(e)) from e
        finally:
            scratch.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        with self._told(name):
            self._s3.delete_object(Bucket=self.bucket, Key=self._key(name))

    def list(self, prefix: str) -> list[str]:
        strip = len(self.prefix) + 1 if self.prefix else 0
        with self._told(prefix):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
            return sorted(o["Key"][strip:] for page in pages for o in page.get("Contents", []))

    def _told(self, name: str) -> AbstractContextManager[None]:
        return s3.told(f"s3://{self.bucket}/{self._key(name)}", "lake")
