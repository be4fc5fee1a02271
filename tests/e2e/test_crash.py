"""Killed with SIGKILL at each named point and run again: the end is that of an undisturbed run.

One undisturbed night is the measure. For each point a copy of the house as it was before that stage is killed
there and finished by the same command, as an operator or Airflow would.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from house import CONTENT, House

from jobs.stage import FAULT_POINTS

pytestmark = [pytest.mark.timeout(600), pytest.mark.e2e]
DATE = "2026-03-02"
RUN = f"{DATE}-all-g1"
STAGES = ("plan", "embed", "complements", "check", "publish")
MADE = {"plan": CONTENT[:1], "embed": CONTENT[:3], "complements": CONTENT, "publish": CONTENT}  # after that stage


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, drawn: Path, teacher_dir: Path) -> dict[str, House]:
    """`stages[s]`: the house just before stage s; `stages["end"]`: after an undisturbed night."""
    root = tmp_path_factory.mktemp("crash")
    house = House(root / "undisturbed", teacher_dir)
    house.root.mkdir()
    kept = {}
    for stage in STAGES:
        kept[stage] = House(root / f"before-{stage}", teacher_dir)
        shutil.copytree(house.root, kept[stage].root)
        run(house, stage, drawn)
    return {**kept, "end": house}


def run(house: House, stage: str, sample: Path, *, expect: int = 0, **extra: str) -> None:
    if stage == "plan":
        args = ("--catalog", str(sample / "catalog.csv"), "--teacher", str(house.teacher), "--run-date", DATE)
        house.medal("plan", *args, expect=expect, **extra)
    else:
        house.medal(stage, "--run-id", RUN, expect=expect, **extra)


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_killed_and_run_again(point: str, stages: dict[str, House], drawn: Path, tmp_path: Path) -> None:
    stage = point.split(".")[0]
    house = House(tmp_path / "killed", stages[stage].teacher)
    shutil.copytree(stages[stage].root, house.root)
    run(house, stage, drawn, expect=-signal.SIGKILL, MEDAL_FAULT=point)
    if stage != "plan":
        assert not house.manifest(RUN).done(stage), "the kill came too late to test anything"
    run(house, stage, drawn)
    whole = stages["end"]
    got, want = house.content(RUN), whole.content(RUN)
    made = MADE[stage]
    assert {t for t in got if got[t]} == {t for t in made if want[t]}
    for table in made:
        assert got[table] == want[table], f"{table} differs after a kill at {point}"
    if stage == "publish":
        assert house.store().pointer().release == whole.store().pointer().release == 1
        assert [r.state for r in house.store().releases()] == ["complete"]
        for item in {r["item_id"] for r in want["complements"]}:
            assert house.store().get_lists(item, 1) == whole.store().get_lists(item, 1)


@pytest.fixture(scope="module")
def embed_s(stages: dict[str, House], drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long an undisturbed embed stage takes."""
    house = House(tmp_path_factory.mktemp("timed") / "house", stages["embed"].teacher)
    shutil.copytree(stages["embed"].root, house.root)
    begun = time.monotonic()
    run(house, "embed", drawn)
    return time.monotonic() - begun


@pytest.mark.parametrize(
    "draw", [pytest.param(n, marks=[pytest.mark.slow] if n >= 2 else [], id=f"draw{n}") for n in range(20)]
)
def test_embed_killed_at_any_moment(
    draw: int, embed_s: float, stages: dict[str, House], drawn: Path, tmp_path: Path
) -> None:
    """No row twice, none missing, and the bits of an undisturbed run."""
    house = House(tmp_path / "killed", stages["embed"].teacher)
    shutil.copytree(stages["embed"].root, house.root)
    process = house.start("embed", "--run-id", RUN)
    try:
        process.wait(random.Random(f"kill/{draw}").uniform(0.2, 1.0) * embed_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    run(house, "embed", drawn)
    got, want = house.content(RUN), stages["complements"].content(RUN)
    for table in MADE["embed"]:
        assert got[table] == want[table], f"{table} differs"
    assert house.manifest(RUN).done("embed")
