"""The real DAG on the drawn sample by `dag.test`: the CLI as it is, Spark, FAISS, gate, store; then the same again."""

from __future__ import annotations

import struct
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
RUN = "2026-11-25-all-g1"


class World:
    """A lake, a store and the `medal` of this tree, for one DAG run after another."""

    def __init__(self, root: Path, drawn: Path, teacher: Path, drive: Drive) -> None:
        self.root, self._drive = root, drive
        self.lake, self.store = Lake(str(root / "lake")), SqliteStore(root / "pdp.sqlite")
        self.medal("")
        self.night: dict[str, Any] = {
            "name": "night",
            "dag": "medal_nightly",
            "logical_date": "2026-11-25T01:00:00+00:00",
            "env": {
                "MEDAL_HOME": str(root),
                "MEDAL_BIN": str(root / "medal"),
                "MEDAL_NIGHTLY_CATALOG": str(drawn / "catalog.csv"),
                "MEDAL_NIGHTLY_TEACHER": str(teacher),
                "MEDAL_LAKE": str(root / "lake"),
                "MEDAL_STORE__PATH": str(root / "pdp.sqlite"),
                "MEDAL_EMBED__SLICE_SIZE": "16",
                "MEDAL_SPARK__JARS_DIR": str(REPO / ".jars"),
                "MEDAL_SPARK__MASTER": "local[2]",
            },
        }

    def medal(self, before: str) -> None:
        """The command, with shell lines before it."""
        file = self.root / "medal"
        file.write_text(f'#!/bin/sh\n{before}\nPYTHONPATH={REPO} exec {sys.executable} -m jobs "$@"\n')
        file.chmod(0o755)

    def play(self, **changes: Any) -> dict[str, Any]:
        env = self.night["env"] | changes.pop("env", {})
        played = self._drive([self.night | changes | {"env": env}])
        return {**played["runs"]["night"], "log": played["log"]}

    def rows(self, table: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        """The run's rows of a content table, vectors as their bytes; no key twice."""
        found = self.lake.read(table, self.lake.manifest(RUN).version(table)).to_pylist()
        for row in found:
            if "vector" in row:
                row["vector"] = struct.pack(f"<{len(row['vector'])}f", *row["vector"])
        rows = {tuple(row[k] for k in TABLES[table].key): row for row in found}
        assert len(rows) == len(found), f"{table}: a key stands there twice"
        return rows

    def published(self) -> dict[str, Any]:
        """Pointer and lists that readers get, by item."""
        pointer = self.store.pointer()
        assert pointer is not None
        items = sorted({key[0] for key in self.rows("complements")})
        return {"release": pointer.release, **{i: self.store.get_lists(i, pointer.release) for i in items}}


@pytest.fixture(scope="module")
def whole(drive: Drive, drawn: Path, teacher_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """After one night without shards."""
    require("java")
    world = World(tmp_path_factory.mktemp("whole"), drawn, teacher_dir, drive)
    played = world.play()
    assert played["tasks"] == dict.fromkeys(STAGES, "success"), played["log"][-6000:]
    assert played["state"] == "success"
    return world


def test_the_night_runs_green_publishes_and_does_nothing_twice(whole: World) -> None:
    lake, store = whole.lake, whole.store
    assert [str(r) for r in lake.runs()] == [RUN]
    counts = lake.manifest(RUN).plan.counts
    assert counts["rows"] == counts["rejected"] + counts["eligible"]
    pointer = store.pointer()
    assert pointer is not None
    report = Path(lake.run_uri(RUN)) / "report.html"
    assert report.stat().st_size > 10_000

    content = [name for name, table in TABLES.items() if table.kind == "content"]
    before = {name: lake.version(name) for name in content}
    assert before["complements"] >= 0

    # the same date again, asked for by hand
    again = whole.play(logical_date=None, run_after="2026-11-25T09:00:00+00:00")
    assert again["state"] == "success", again["log"][-6000:]
    assert {name: lake.version(name) for name in content} == before
    assert [str(r) for r in lake.runs()] == [RUN]
    assert store.pointer() == pointer
    assert len(store.releases()) == 1


def test_three_shards_one_killed_and_cleared_publish_the_same_release(
    whole: World, drive: Drive, drawn: Path, teacher_dir: Path, tmp_path: Path
) -> None:
    """Shard 2 is killed after its first commit and not retried; shard 3 meets a passing fault and is."""
    world = World(tmp_path, drawn, teacher_dir, drive)
    first = 'first() { [ ! -e "$0.$1" ] && touch "$0.$1"; }'
    killed = 'case "$*" in *--shard=2/3) if first killed; then export MEDAL_FAULT=embed.slice_committed; fi;; esac'
    held = 'case "$*" in *--shard=3/3) if first held; then echo "medal: lease held" >&2; exit 5; fi;; esac'
    world.medal("\n".join([first, killed, held]))
    shards = [f"embed_shard[{n}]" for n in range(3)]

    played = world.play(env={"MEDAL_EMBED__SHARDS": "3"}, clear=True)
    assert played["tasks"] == {
        **dict.fromkeys(["plan", *shards], "success"),
        "embed_shard[1]": "failed",
        **dict.fromkeys(STAGES[1:], "upstream_failed"),
    }, played["log"][-6000:]
    assert played["tries"] == {
        **dict.fromkeys(["plan", *shards], 1),
        "embed_shard[2]": 2,
        **dict.fromkeys(STAGES[1:], 0),
    }
    assert "killed by SIGKILL" in played["log"]
    cleared = played["cleared"]
    assert cleared["tasks"] == dict.fromkeys([*STAGES, *shards], "success"), played["log"][-6000:]
    assert cleared["tries"] == {**dict.fromkeys([*STAGES, *shards], 1), "embed_shard[1]": 2, "embed_shard[2]": 2}

    assert len(list(world.lake.commits("embeddings", run_id=RUN))) >= 6, "each shard committed several times"
    assert len(world.rows("embeddings")) > 80
    for table in ("catalog", "embeddings", "quarantine", "candidates", "complements"):
        assert world.rows(table) == whole.rows(table), f"{table} differs"
    assert world.published() == whole.published()
    counts = [w.lake.manifest(RUN).stages["embed"].counts for w in (world, whole)]
    states = ("embedded", "reused", "unchanged", "stale_vector", "waiting", "quarantined")
    assert [counts[0][s] for s in states] == [counts[1][s] for s in states]
