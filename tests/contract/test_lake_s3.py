"""One contract for the lake, on a folder and on S3: versions, exactly-once writes, small files, the lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from require import require
from s3_server import S3Server, s3_server

from jobs.errors import DataError, LeaseHeld
from jobs.lake import NO_TABLE, Lake
from jobs.lease import NAME, Lease, LeaseRecord, held
from jobs.runs import RunId
from schemas.tables import TABLES

NIGHT = RunId("2026-11-25", "all", 1)
AGAIN = RunId("2026-11-25", "all", 2)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    require("versitygw")
    with s3_server() as started:
        yield started


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    if request.param == "folder":
        return Lake(str(tmp_path / "lake"))
    import boto3

    server: S3Server = request.getfixturevalue("server")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    bucket = f"lake-{time.time_ns()}"
    boto3.Session().client("s3", endpoint_url=server.endpoint_url).create_bucket(Bucket=bucket)
    return Lake(f"s3://{bucket}/shop", s3_endpoint_url=server.endpoint_url)


def twin(lake: Lake) -> Lake:
    """The same lake as another process sees it."""
    return Lake(lake.root, s3_endpoint_url=lake.s3_endpoint_url)


def rejected(*rows: int, run: RunId = NIGHT) -> pa.Table:
    told = [
        {"run_id": str(run), "row": r, "item_id": f"item-{r}", "field": "image", "value": "", "reason": "missing"}
        for r in rows
    ]
    names = TABLES["rejected_rows"].schema.names
    return pa.Table.from_pylist([{n: t.get(n) for n in names} for t in told], schema=TABLES["rejected_rows"].schema)


def rows_of(lake: Lake, version: int) -> list[int]:
    return sorted(lake.read("rejected_rows", version, columns=["row"])["row"].to_pylist())


# --- tables --------------------------------------------------------------------------------------------------------


def test_a_table_that_is_not_there(lake: Lake) -> None:
    assert lake.version("rejected_rows") == NO_TABLE
    assert lake.read("rejected_rows", NO_TABLE).num_rows == 0
    assert lake.committed("rejected_rows", str(NIGHT)) is None


def test_an_append_happens_once_however_often_it_is_asked_for(lake: Lake) -> None:
    first = lake.append("rejected_rows", rejected(1, 2), NIGHT)
    assert lake.append("rejected_rows", rejected(1, 2), NIGHT) == first
    assert twin(lake).append("rejected_rows", rejected(1, 2), NIGHT) == first
    assert lake.version("rejected_rows") == first
    assert rows_of(lake, first) == [1, 2]


def test_parts_of_a_run_add_up_and_are_found_again(lake: Lake) -> None:
    versions = [lake.append("rejected_rows", rejected(p), NIGHT, part=p) for p in range(3)]
    assert versions == sorted(set(versions))
    assert [lake.committed("rejected_rows", str(NIGHT), p) for p in range(3)] == versions
    assert rows_of(lake, versions[-1]) == [0, 1, 2]
    assert rows_of(lake, versions[0]) == [0], "an earlier version stays readable"


def test_the_next_generation_writes_again(lake: Lake) -> None:
    lake.append("rejected_rows", rejected(1), NIGHT)
    version = lake.append("rejected_rows", rejected(1, run=AGAIN), AGAIN)
    assert rows_of(lake, version) == [1, 1]


def test_an_older_date_is_not_dropped_after_a_newer_one(lake: Lake) -> None:
    lake.append("rejected_rows", rejected(1), NIGHT)
    older = RunId("2026-11-20", "all", 1)
    version = lake.append("rejected_rows", rejected(2, run=older), older)
    assert rows_of(lake, version) == [1, 2]


def test_replacing_a_slice_happens_once_and_leaves_the_rest(lake: Lake) -> None:
    lake.append("rejected_rows", rejected(1, 2), NIGHT)
    other = RunId("2026-11-26", "all", 1)
    lake.append("rejected_rows", rejected(7, run=other), other)
    predicate = f"run_id = '{NIGHT}'"
    version = lake.replace("rejected_rows", rejected(3), NIGHT, predicate=predicate, part=1)
    assert lake.replace("rejected_rows", rejected(3), NIGHT, predicate=predicate, part=1) == version
    assert rows_of(lake, version) == [3, 7]


def test_a_version_that_is_gone_is_told(lake: Lake) -> None:
    version = lake.append("rejected_rows", rejected(1), NIGHT)
    with pytest.raises(DataError, match=f"version {version + 5} cannot be read"):
        lake.open("rejected_rows", version + 5)


# --- small files ---------------------------------------------------------------------------------------------------


def test_files_are_read_as_written_and_listed(lake: Lake) -> None:
    assert lake.files.read("runs/a/manifest.json") is None
    lake.files.write("runs/a/manifest.json", b"one")
    lake.files.write("runs/a/manifest.json", b"two")
    lake.files.write("runs/b/report.html", b"x")
    assert lake.files.read("runs/a/manifest.json") == b"two"
    assert lake.files.list("runs/") == ["runs/a/manifest.json", "runs/b/report.html"]
    assert lake.files.list("nothing/") == []


def test_create_lets_one_in(lake: Lake) -> None:
    assert lake.files.create("file", b"mine")
    assert not twin(lake).files.create("file", b"theirs")
    assert lake.files.read("file") == b"mine"


def test_swap_wants_the_content_it_knows(lake: Lake) -> None:
    assert not lake.files.swap("file", b"old", b"new"), "nothing is there"
    lake.files.write("file", b"old")
    assert not lake.files.swap("file", b"other", b"new")
    assert lake.files.swap("file", b"old", b"new")
    assert lake.files.read("file") == b"new"
    assert not lake.files.swap("file", b"old", b"newer"), "what was known has changed"


@pytest.mark.parametrize("how", ["create", "swap"])
def test_of_many_at_once_one_wins(lake: Lake, how: str) -> None:
    if how == "swap":
        lake.files.write("file", b"old")
    lakes = [twin(lake) for _ in range(8)]
    start = threading.Barrier(len(lakes))
    won: list[int] = []

    def go(number: int) -> None:
        files = lakes[number].files
        start.wait()
        new = f"writer {number}".encode()
        if files.create("file", new) if how == "create" else files.swap("file", b"old", new):
            won.append(number)

    threads = [threading.Thread(target=go, args=(n,)) for n in range(len(lakes))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(won) == 1
    assert lake.files.read("file") == f"writer {won[0]}".encode()


# --- the lease -----------------------------------------------------------------------------------------------------


def test_the_lease_lets_one_writer_in(lake: Lake) -> None:
    with held(lake, "first", 30) as lease:
        lease.check()
        with pytest.raises(LeaseHeld, match=r"first \(process \d+ on .*\) holds the write lease"):
            Lease(twin(lake), "second", 30).acquire()
        lease.check()
    with held(twin(lake), "second", 30) as lease:
        lease.check()


def test_a_lease_is_given_back_after_an_error(lake: Lake) -> None:
    with pytest.raises(RuntimeError, match="boom"), held(lake, "first", 30):
        raise RuntimeError("boom")
    with held(twin(lake), "second", 30):
        pass


def test_an_expired_lease_of_another_host_is_taken_over(lake: Lake) -> None:
    lake.files.create(NAME, LeaseRecord("dead", "t", "another-host", 1, time.time() - 1).encode())
    with held(lake, "second", 30) as lease:
        lease.check()


def test_a_live_lease_of_another_host_is_respected(lake: Lake) -> None:
    lake.files.create(NAME, LeaseRecord("alive", "t", "another-host", 1, time.time() + 30).encode())
    with pytest.raises(LeaseHeld, match="alive"):
        Lease(lake, "second", 30).acquire()


def _check_for(lease: Lease, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lease.check()
        time.sleep(0.1)


def test_the_heartbeat_keeps_a_lease_and_a_lost_one_is_noticed(lake: Lake) -> None:
    lease = Lease(lake, "first", 2.0)
    lease.acquire()
    time.sleep(2.5)
    lease.check()
    with pytest.raises(LeaseHeld):
        Lease(twin(lake), "second", 2.0).acquire()
    thief = LeaseRecord("thief", "t", "another-host", 1, time.time() + 60).encode()
    lake.files.write(NAME, thief)
    with pytest.raises(LeaseHeld, match="was lost"):
        _check_for(lease, seconds=3)
    lease.release()
    assert lake.files.read(NAME) == thief, "what another holds is not given back"
