"""From exit codes, parameters and clocks to what Airflow does: by table, without a database."""

from __future__ import annotations

import ast
import os
import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

import medal_airflow
from jobs import errors
from jobs.embed.shards import parse_shard
from jobs.settings import EmbedSettings, LeaseSettings, Settings
from medal_airflow import BackfillOperator, MedalOperator, PlanOperator, ShardOperator, StageOperator
from medal_site import MOST_SHARDS, Site
from tests.dags.fake_medal import DAGS, FakeMedal

pytestmark = pytest.mark.airflow


def site_of(fake: FakeMedal) -> Site:
    return Site(fake.folder, fake.bin, "Europe/Berlin", "catalog.csv", "teacher")


@pytest.mark.parametrize(
    ("code", "outcome", "told"),
    [
        (0, None, ""),
        (1, AirflowFailException, "exit 1, a bug in medal"),
        (2, AirflowFailException, "exit 2, bad arguments or settings"),
        (3, AirflowFailException, "exit 3, gate blocked"),
        (4, AirflowFailException, "exit 4, data break their contract"),
        (5, AirflowException, "exit 5, a passing fault"),
        (77, AirflowFailException, "exit 77, unknown code"),
        ("kill", AirflowFailException, "killed by SIGKILL; was it short of memory?"),
    ],
)
def test_only_exit_code_5_is_retried(
    fake_medal: FakeMedal, code: int | str, outcome: type[Exception] | None, told: str
) -> None:
    fake_medal.will("embed", code)
    task = MedalOperator(task_id="embed")
    if outcome is None:
        assert task.medal(["embed"], site_of(fake_medal)) == []
        return
    with pytest.raises(AirflowException) as caught:
        task.medal(["embed"], site_of(fake_medal))
    assert type(caught.value) is outcome  # AirflowFailException is an AirflowException too
    assert told in str(caught.value)
    last = "embed was called" if code == "kill" else "medal: embed said no"
    assert str(caught.value).endswith(last), "the last line of stderr is what a person acts on"


def test_every_exit_code_of_the_jobs_has_a_meaning() -> None:
    tree = [errors.MedalError, *errors.MedalError.__subclasses__()]
    assert {e.exit_code for e in tree} == set(medal_airflow.MEANING)
    retried = {e.exit_code for e in tree if medal_airflow.verdict(e.exit_code) == "retry"}
    assert retried == {errors.TransientError.exit_code}


def test_a_retry_comes_after_a_dead_writers_lease_has_expired() -> None:
    assert medal_airflow.RETRY_DELAY.total_seconds() > LeaseSettings().ttl_s


def test_a_missing_medal_is_told_and_not_retried(tmp_path: Path) -> None:
    site = Site(tmp_path, tmp_path / "nowhere", "UTC", None, None)
    with pytest.raises(AirflowFailException, match=r"nowhere: cannot be started .*set MEDAL_BIN"):
        MedalOperator(task_id="embed").medal(["embed"], site)


def _sleeper(folder: Path) -> FakeMedal:
    """A `medal` that starts a child and waits for it."""
    fake = FakeMedal(folder)
    fake.bin.write_text('#!/bin/sh\nsleep 300 &\necho $! > "$(dirname "$0")/grandchild"\nwait\n')
    return fake


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_on_kill_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    """As Airflow does it: on_kill in a signal handler, while `execute` waits for the child in the same thread."""
    fake = _sleeper(tmp_path)
    task = MedalOperator(task_id="complements")
    before = signal.signal(signal.SIGUSR1, lambda *_: task.on_kill())
    started = tmp_path / "grandchild"

    def poke() -> None:
        while not started.exists() or not started.read_text().strip():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=poke, daemon=True).start()
    try:
        began = time.monotonic()
        with pytest.raises(AirflowException, match="stopped by Airflow") as caught:
            task.medal(["complements"], site_of(fake))
        assert not isinstance(caught.value, AirflowFailException)
        assert time.monotonic() - began < 15
    finally:
        signal.signal(signal.SIGUSR1, before)
    grandchild = int(started.read_text())
    deadline = time.monotonic() + 5
    while not _gone(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _gone(grandchild)


# --- parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conf", [{"dryrun": True}, {"Publish": False}, {"run_date": "2026-11-25", "force": 1}])
def test_an_unknown_key_is_refused(conf: dict[str, Any]) -> None:
    known = ["run_date", "catalog", "model", "publish", "dry_run"]
    with pytest.raises(AirflowFailException, match=r"unknown parameter .*; this DAG knows catalog, dry_run"):
        medal_airflow.refuse_unknown(conf, known)
    medal_airflow.refuse_unknown({"dry_run": True}, known)
    medal_airflow.refuse_unknown(None, known)


_NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "logical_date", "run_after", "zone", "expected"),
    [
        # the parameter wins over everything
        ("2026-11-20", datetime(2026, 11, 25, 1, tzinfo=UTC), _NOON, "Europe/Berlin", "2026-11-20"),
        # then the logical date, as a date in the shop's time zone
        (None, datetime(2026, 11, 25, 1, tzinfo=UTC), _NOON, "Europe/Berlin", "2026-11-25"),
        (None, datetime(2026, 11, 24, 23, 30, tzinfo=UTC), _NOON, "Europe/Berlin", "2026-11-25"),
        (None, datetime(2026, 11, 25, 1, tzinfo=UTC), _NOON, "America/New_York", "2026-11-24"),
        # both sides of a change of the clock
        (None, datetime(2026, 10, 24, 22, 30, tzinfo=UTC), _NOON, "Europe/Berlin", "2026-10-25"),
        (None, datetime(2026, 10, 25, 22, 30, tzinfo=UTC), _NOON, "Europe/Berlin", "2026-10-25"),
        # no logical date: the moment the run was asked for, in the same zone
        (None, None, datetime(2026, 11, 24, 23, 30, tzinfo=UTC), "Europe/Berlin", "2026-11-25"),
        (None, None, datetime(2026, 11, 24, 22, 30, tzinfo=UTC), "Europe/Berlin", "2026-11-24"),
        ("", None, datetime(2026, 11, 24, 22, 30, tzinfo=UTC), "Europe/Berlin", "2026-11-24"),
    ],
)
def test_run_date_precedence(
    given: str | None, logical_date: datetime | None, run_after: datetime, zone: str, expected: str
) -> None:
    assert medal_airflow.run_date_of(given, logical_date, run_after, zone) == expected


@pytest.mark.parametrize(("given", "zone"), [("25.11.2026", "UTC"), ("2026-02-30", "UTC"), (None, "Europe/Atlantis")])
def test_a_bad_date_or_zone_is_told(given: str | None, zone: str) -> None:
    with pytest.raises(AirflowFailException, match=r"is no date|is unknown"):
        medal_airflow.run_date_of(given, None, _NOON, zone)


def test_the_scheduled_hour_is_the_same_day_in_the_shops_zone_all_year() -> None:
    berlin = ZoneInfo(Settings.model_fields["time_zone"].default)
    nights = [datetime(2026, 1, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(366)]
    assert all(n.astimezone(berlin).date() == n.date() for n in nights)
    assert all(n.astimezone(berlin).hour in (2, 3) for n in nights)


# --- the site ------------------------------------------------------------------------------------------------------


def test_the_site_comes_from_the_environment(tmp_path: Path) -> None:
    assert Site.read({}).home == DAGS.parent
    assert Site.read({}).time_zone == Settings.model_fields["time_zone"].default
    (tmp_path / "medal.yaml").write_text('lake: x\ntime_zone: "Asia/Tokyo"  # the shop\nstore: {kind: sqlite}\n')
    site = Site.read({"MEDAL_HOME": str(tmp_path)})
    assert (site.bin, site.time_zone) == (tmp_path / ".venv" / "bin" / "medal", "Asia/Tokyo")
    assert Site.read({"MEDAL_HOME": str(tmp_path), "MEDAL_TIME_ZONE": "UTC"}).time_zone == "UTC"


@pytest.mark.parametrize(
    ("file", "env", "shards"),
    [
        (None, {}, 1),
        ("lake: x\n", {}, 1),
        ("embed:\n  batch_size: 8\n  # machines\n  shards: 4\n", {}, 4),
        ("embed: {shards: 4}\n", {}, 4),
        ("embed: {shards: 4}\n", {"MEDAL_EMBED__SHARDS": "2"}, 2),  # as in `medal`
        ("lists: {shards: 4}\n", {}, 1),
        (None, {"MEDAL_EMBED__SHARDS": "1000"}, 1000),
        # what the setting does not allow: the DAG parses, `medal plan` tells
        ("embed: {shards: four}\n", {}, 1),
        ("embed: {shards: 0}\n", {}, 1),
        ("embed: {shards: [4]}\n", {}, 1),
        ("embed: 4\n", {}, 1),
        ("- embed\n", {}, 1),
        ("embed: {shards: 4\n", {}, 1),
        (None, {"MEDAL_EMBED__SHARDS": "1001"}, 1),
        (None, {"MEDAL_EMBED__SHARDS": "-3"}, 1),
    ],
)
def test_how_many_shards_a_site_has(tmp_path: Path, file: str | None, env: dict[str, str], shards: int) -> None:
    if file is not None:
        (tmp_path / "medal.yaml").write_text(file)
    assert Site.read({"MEDAL_HOME": str(tmp_path), **env}).shards == shards


def test_the_dag_and_the_setting_agree_on_shards() -> None:
    assert EmbedSettings().shards == 1
    assert EmbedSettings(shards=MOST_SHARDS).shards == MOST_SHARDS
    with pytest.raises(ValueError):
        EmbedSettings(shards=MOST_SHARDS + 1)
    assert [parse_shard(name) for name in medal_airflow.shard_names(3)] == [(1, 3), (2, 3), (3, 3)]
    assert Settings(embed=EmbedSettings(shards=8)).fingerprint() == Settings().fingerprint(), "no generation of its own"


def test_the_sites_variables_are_no_settings_of_the_jobs() -> None:
    """MEDAL_CATALOG would be read by `medal` as the section `catalog`; these names must not meet one."""
    sections = {f"MEDAL_{name.upper()}" for name in Settings.model_fields}
    ours = {"MEDAL_HOME", "MEDAL_BIN", "MEDAL_NIGHTLY_CATALOG", "MEDAL_NIGHTLY_TEACHER"}
    assert not ours & sections
    assert "MEDAL_TIME_ZONE" in sections  # shared on purpose: one zone for both


# --- command lines -------------------------------------------------------------------------------------------------


def _context(conf: dict[str, Any], params: dict[str, Any], run_id: str | None = None) -> Any:
    run = SimpleNamespace(conf=conf, logical_date=None, run_after=datetime(2026, 11, 25, 1, tzinfo=UTC))
    return {"dag_run": run, "params": params, "ti": SimpleNamespace(xcom_pull=lambda task_ids: run_id)}


_PLANNED = ["plan", "--catalog=catalog.csv", "--teacher=teacher", "--run-date=2026-11-25"]
_NIGHT = {"run_date": None, "catalog": None, "model": None, "publish": True, "dry_run": False, "accept": None}


def _in_dag(operator: type[MedalOperator], task_id: str, params: dict[str, Any]) -> Any:
    with DAG("d", schedule=None, params={k: Param(v) for k, v in params.items()}):
        return operator(task_id=task_id)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, _PLANNED),
        (
            {"catalog": "b c.csv", "model": "--apply", "run_date": "2026-11-20"},
            ["plan", "--catalog=b c.csv", "--teacher=--apply", "--run-date=2026-11-20"],
        ),
        (
            {"publish": False, "dry_run": True, "accept": "prices,images"},
            [
                "plan",
                "--catalog=catalog.csv",
                "--teacher=teacher",
                "--run-date=2026-11-25",
                "--no-publish",
                "--accept=prices,images",
                "--dry-run",
            ],
        ),
    ],
)
def test_the_plans_command_line(fake_medal: FakeMedal, params: dict[str, Any], expected: list[str]) -> None:
    plan = _in_dag(PlanOperator, "plan", _NIGHT)
    assert plan.arguments(_context(params, {**_NIGHT, **params}), site_of(fake_medal)) == expected


def test_a_night_without_a_catalogue_is_told(tmp_path: Path) -> None:
    plan = _in_dag(PlanOperator, "plan", _NIGHT)
    with pytest.raises(AirflowFailException, match="no catalog: give the parameter, or set MEDAL_NIGHTLY_CATALOG"):
        plan.arguments(_context({}, _NIGHT), Site(tmp_path, tmp_path, "UTC", None, "teacher"))


def test_a_stage_runs_on_the_plans_run_and_is_skipped_without_one(fake_medal: FakeMedal) -> None:
    stage = StageOperator(task_id="check")
    assert stage.arguments(_context({}, {}, "2026-11-25-all-g2"), site_of(fake_medal)) == [
        "check",
        "--run-id=2026-11-25-all-g2",
    ]
    with pytest.raises(AirflowSkipException):
        stage.arguments(_context({}, {}), site_of(fake_medal))


def test_a_shard_is_a_part_of_the_plans_run_and_is_skipped_without_one(fake_medal: FakeMedal) -> None:
    part = ShardOperator(task_id="embed_shard", shard="2/3")
    assert part.arguments(_context({}, {}, "2026-11-25-all-g2"), site_of(fake_medal)) == [
        "embed",
        "--run-id=2026-11-25-all-g2",
        "--shard=2/3",
    ]
    with pytest.raises(AirflowSkipException):
        part.arguments(_context({}, {}), site_of(fake_medal))


_FORM = {
    "from": "2026-11-01",
    "to": "2026-11-03",
    "reason": "lost days",
    "catalog_pattern": None,
    "model": None,
    "apply": False,
    "publish": False,
}


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, []),
        ({"apply": True}, ["--apply"]),
        ({"apply": True, "publish": True}, ["--apply", "--publish"]),
        ({"catalog_pattern": "c/{date}.csv"}, ["--catalog-pattern=c/{date}.csv"]),
    ],
)
def test_the_backfills_command_line(fake_medal: FakeMedal, given: dict[str, Any], more: list[str]) -> None:
    task = _in_dag(BackfillOperator, "backfill", _FORM)
    assert task.arguments(_context(given, {**_FORM, **given}), site_of(fake_medal)) == [
        "backfill",
        "--from=2026-11-01",
        "--to=2026-11-03",
        "--reason=lost days",
        "--teacher=teacher",
        *more,
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"from": "2026-11-09"}, "is after to"),
        ({"reason": "      "}, "needs a reason"),
        ({"aply": True}, "unknown parameter aply"),
    ],
)
def test_a_backfill_that_makes_no_sense_is_refused(fake_medal: FakeMedal, given: dict[str, Any], told: str) -> None:
    task = _in_dag(BackfillOperator, "backfill", _FORM)
    with pytest.raises(AirflowFailException, match=told):
        task.arguments(_context(given, {**_FORM, **given}), site_of(fake_medal))


# --- what may be imported ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda p: p.name)
def test_dags_import_the_standard_library_and_airflow_only(file: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or ".").partition(".")[0])
    # PyYAML: apache-airflow-core requires it
    assert names <= set(sys.stdlib_module_names) | {"airflow", "yaml", "medal_airflow", "medal_site"}


def test_what_is_no_dag_is_not_parsed_as_one() -> None:
    ignored = (DAGS / ".airflowignore").read_text(encoding="utf-8").splitlines()
    without = {f.name for f in DAGS.glob("*.py") if "with DAG(" not in f.read_text(encoding="utf-8")}
    assert without == {"medal_airflow.py", "medal_site.py"}
    assert without <= set(ignored)


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda p: p.name)
def test_no_dag_uses_a_shell(file: Path) -> None:
    assert not re.search(r"shell\s*=\s*True|os\.system|BashOperator", file.read_text(encoding="utf-8"))
