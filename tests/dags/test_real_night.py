"""The real DAG on the drawn sample by `dag.test`: the CLI as it is, Spark, FAISS, gate, store; then the same again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from require import require

from jobs.lake import Lake
from jobs.publish.sqlite_store import SqliteStore
from schemas.tables import TABLES
from tests.dags.fake_medal import REPO, Drive

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.e2e, pytest.mark.timeout(900)]

STAGES = ["plan", "embed", "complements", "check", "publish", "report", "summary"]


def test_the_night_runs_green_publishes_and_does_nothing_twice(
    drive: Drive, drawn: Path, teacher_dir: Path, tmp_path: Path
) -> None:
    require("java")
    medal = tmp_path / "medal"
    medal.write_text(f'#!/bin/sh\nPYTHONPATH={REPO} exec {sys.executable} -m jobs "$@"\n')
    medal.chmod(0o755)
    env = {
        "MEDAL_HOME": str(tmp_path),
        "MEDAL_BIN": str(medal),
        "MEDAL_NIGHTLY_CATALOG": str(drawn / "catalog.csv"),
        "MEDAL_NIGHTLY_TEACHER": str(teacher_dir),
        "MEDAL_LAKE": str(tmp_path / "lake"),
        "MEDAL_STORE__PATH": str(tmp_path / "pdp.sqlite"),
        "MEDAL_SPARK__JARS_DIR": str(REPO / ".jars"),
        "MEDAL_SPARK__MASTER": "local[2]",
    }
    night: dict[str, Any] = {"dag": "medal_nightly", "env": env}
    first = {**night, "name": "first", "logical_date": "2026-11-25T01:00:00+00:00"}
    # the same date again, asked for by hand
    again = {**night, "name": "again", "run_after": "2026-11-25T09:00:00+00:00"}

    played = drive([first])
    assert played["runs"]["first"]["tasks"] == dict.fromkeys(STAGES, "success"), played["log"][-6000:]
    assert played["runs"]["first"]["state"] == "success"

    lake, store = Lake(str(tmp_path / "lake")), SqliteStore(tmp_path / "pdp.sqlite")
    assert [str(r) for r in lake.runs()] == ["2026-11-25-all-g1"]
    manifest = lake.manifest("2026-11-25-all-g1")
    counts = manifest.plan.counts
    assert counts["rows"] == counts["rejected"] + counts["eligible"]
    pointer = store.pointer()
    assert pointer is not None
    report = Path(lake.run_uri("2026-11-25-all-g1")) / "report.html"
    assert report.stat().st_size > 10_000

    content = [name for name, table in TABLES.items() if table.kind == "content"]
    before = {name: lake.version(name) for name in content}
    assert before["complements"] >= 0

    played = drive([again])
    assert played["runs"]["again"]["state"] == "success", played["log"][-6000:]
    assert {name: lake.version(name) for name in content} == before
    assert [str(r) for r in lake.runs()] == ["2026-11-25-all-g1"]
    assert store.pointer() == pointer
    assert len(store.releases()) == 1
