"""The write lease: one small file in the lake lets one writer in.

Conditional create, owner, heartbeat, expiry. A pool in Airflow does not stop a run from the shell; this does.
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from jobs.errors import LeaseHeld
from jobs.lake import Lake

NAME = "lease.json"


@dataclass(frozen=True)
class LeaseRecord:
    owner: str  # what holds it, for a person
    token: str  # what holds it, for the program
    host: str
    pid: int
    expires: float  # Unix seconds; wall clock, for mutual exclusion only

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> LeaseRecord | None:
        """None where the lease was given back (an empty file) or the file is damaged: both may be taken."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None

    def abandoned(self, now: float) -> bool:
        """Expired, or its process on this very host is gone (a killed run need not block its own retry)."""
        if now > self.expires:
            return True
        if self.host == socket.gethostname():
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
            except PermissionError:
                return False
        return False


class Lease:
    """A held lease. `check()` before every commit; raises LeaseHeld when it was lost."""

    def __init__(self, lake: Lake, owner: str, ttl_s: float) -> None:
        self._lake, self._ttl = lake, ttl_s
        self._record = LeaseRecord(owner, uuid.uuid4().hex, socket.gethostname(), os.getpid(), 0.0)
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._mutex = threading.Lock()

    def acquire(self) -> None:
        """Take the lease or raise LeaseHeld naming who has it and until when."""
        fresh = self._renewed()
        if not self._lake.files.create(NAME, fresh.encode()):
            data = self._lake.files.read(NAME) or b""
            holder = LeaseRecord.decode(data)
            if holder is not None and not holder.abandoned(time.time()):
                raise LeaseHeld(self._told(holder))
            if not self._lake.files.swap(NAME, data, fresh.encode()):
                holder = LeaseRecord.decode(self._lake.files.read(NAME) or b"")
                raise LeaseHeld(self._told(holder))
        self._record = fresh
        self._thread = threading.Thread(target=self._heartbeat, name="medal-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseHeld if another writer may have taken over."""
        if self._lost.is_set() or time.time() > self._record.expires:
            raise LeaseHeld(f"{self._lake.root}: the lease of {self._record.owner} was lost; run the stage again")

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        self._lake.files.swap(NAME, self._record.encode(), None)

    def _renewed(self) -> LeaseRecord:
        r = self._record
        return LeaseRecord(r.owner, r.token, r.host, r.pid, time.time() + self._ttl)

    def _heartbeat(self) -> None:
        while not self._stop.wait(self._ttl / 4):
            try:
                fresh = self._renewed()
                if not self._lake.files.swap(NAME, self._record.encode(), fresh.encode()):
                    self._lost.set()
                    return
                self._record = fresh
            except Exception:  # a passing fault of the store: try again until the lease expires by itself
                continue

    def _told(self, holder: LeaseRecord | None) -> str:
        if holder is None:
            return f"{self._lake.root}: another run just took the write lease; try again when it has ended"
        left = max(0, round(holder.expires - time.time()))
        return (
            f"{self._lake.root}: {holder.owner} (process {holder.pid} on {holder.host}) holds the write lease, "
            f"renewed until in {left} s; wait for it to end, or stop it and try again after that"
        )


@contextmanager
def held(lake: Lake, owner: str, ttl_s: float, wait_s: float = 0.0) -> Iterator[Lease]:
    """Hold the lake's lease for a block. Raises LeaseHeld where another has it, still after `wait_s`."""
    lease = Lease(lake, owner, ttl_s)
    until = time.monotonic() + wait_s
    while True:
        try:
            lease.acquire()
            break
        except LeaseHeld:
            if time.monotonic() >= until:
                raise
            time.sleep(random.uniform(0.05, 0.5))  # so that two who wait do not meet again
    try:
        yield lease
    finally:
        lease.release()
