"""The DAGs as Airflow sees them, and whole runs by `dag.test` against a `medal` whose exit codes we decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dags.fake_medal import Drive, FakeMedal

pytestmark = pytest.mark.airflow

STAGES = ["plan", "embed", "complements", "check", "publish", "report", "summary"]
FORM = {"from": "2026-11-01", "to": "2026-11-02", "reason": "lost days", "model": "t"}
# name: (configuration, exit codes of the calls of a command)
NIGHTS: dict[str, tuple[dict[str, Any], dict[str, list[int]]]] = {
    "good": ({}, {}),
    "blocked": ({}, {"check": [3]}),
    "retried": ({}, {"plan": [5], "embed": [5, 5]}),
    "retried too often": ({}, {"embed": [5, 5, 5]}),
    "bug": ({}, {"complements": [1]}),
    "dry": ({"dry_run": True}, {}),
    "misspelt": ({"dryrun": True}, {}),
    "lake only": ({"publish": False, "run_date": "2026-11-20"}, {}),
    "no logical date": ({}, {}),
}
# the same with embed.shards: 3
SHARDED: dict[str, tuple[dict[str, Any], dict[str, list[int]]]] = {
    "sharded": ({"accept": "prices"}, {}),
    "shard retried": ({}, {"embed.2": [5, 5]}),
    "shard refused": ({}, {"embed.2": [4]}),
    "shard lost": ({}, {"embed.3": [5, 5, 5]}),
    "end retried": ({}, {"embed": [5]}),
    "sharded dry": ({"dry_run": True}, {}),
}
SHARDS = {f"embed_shard[{n}]": f"shard {n + 1}/3" for n in range(3)}


class Played:
    """What happened in all scenarios, played once; each has a `medal` of its own."""

    def __init__(self, drive: Drive, root: Path) -> None:
        self._fakes: dict[str, FakeMedal] = {}
        scenarios: list[dict[str, Any]] = []
        for day, (name, (conf, codes)) in enumerate((NIGHTS | SHARDED).items(), start=1):
            night = {"name": name, "dag": "medal_nightly", "conf": conf, "env": self._env(root, name)}
            night["logical_date"] = f"2026-11-{day:02}T01:00:00+00:00"
            if name == "no logical date":
                night |= {"logical_date": None, "run_after": "2026-11-24T23:30:00+00:00"}
            if name in SHARDED:
                night["env"]["MEDAL_EMBED__SHARDS"] = "3"
            scenarios.append({**night, "clear": name == "shard refused"})
            for command, queue in codes.items():
                self._fakes[name].will(command, *queue)
        backfill = {"name": "backfill", "dag": "medal_backfill", "conf": FORM, "env": self._env(root, "backfill")}
        self.answer = drive([*scenarios, {**backfill, "run_after": "2026-11-25T09:00:00+00:00"}])

    def _env(self, root: Path, name: str) -> dict[str, str]:
        fake = self._fakes[name] = FakeMedal(root / name.replace(" ", "_"))
        return {
            "MEDAL_BIN": str(fake.bin),
            "MEDAL_HOME": str(root),
            "MEDAL_NIGHTLY_CATALOG": "c.csv",
            "MEDAL_NIGHTLY_TEACHER": "t",
        }

    def calls(self, name: str) -> list[str]:
        return self._fakes[name].calls

    def run(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.answer["runs"][name]
        return found

    def states(self, name: str) -> dict[str, str]:
        states: dict[str, str] = self.run(name)["tasks"]
        return states


@pytest.fixture(scope="module")
def played(drive: Drive, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return Played(drive, tmp_path_factory.mktemp("fake"))


def test_every_dag_parses_where_only_airflow_is_installed(played: Played) -> None:
    assert played.answer["import_errors"] == {}
    assert set(played.answer["dags"]) == {"medal_nightly", "medal_backfill"}
    assert played.answer["loaded"] == []


def test_the_night_as_airflow_sees_it(played: Played) -> None:
    dag = played.answer["dags"]["medal_nightly"]
    assert dag["timetable"] == "CronTriggerTimetable"
    assert "0 1 * * *" in dag["schedule"]
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1
    assert set(dag["params"]) == {"run_date", "catalog", "model", "publish", "dry_run", "accept"}
    assert dag["params"]["publish"]["type"] == "boolean"
    assert dag["params"]["run_date"]["type"] == ["null", "string"]
    assert dag["params"]["run_date"]["format"] == "date"
    assert list(dag["tasks"]) == STAGES
    for task_id, task in dag["tasks"].items():
        assert task["retries"] == 2, task_id
        assert task["pool"] == ("default_pool" if task_id == "summary" else "medal_lake"), task_id


def test_the_backfill_is_a_form_of_one_task(played: Played) -> None:
    dag = played.answer["dags"]["medal_backfill"]
    assert dag["timetable"] == "NullTimetable"
    assert set(dag["params"]) == {"from", "to", "reason", "catalog_pattern", "model", "apply", "publish"}
    assert {t["pool"] for t in dag["tasks"].values()} == {"medal_lake"}
    assert list(dag["tasks"]) == ["backfill"]
    assert dag["max_active_runs"] == 1


@pytest.mark.parametrize("dag_id", ["medal_nightly", "medal_backfill"])
def test_the_runbook_is_in_the_dag(played: Played, dag_id: str) -> None:
    assert "exit" in played.answer["dags"][dag_id]["doc_md"]


def test_a_good_night_is_green(played: Played) -> None:
    assert played.run("good")["state"] == "success"
    assert played.states("good") == dict.fromkeys(STAGES, "success")
    assert played.calls("good") == [
        "plan --catalog=c.csv --teacher=t --run-date=2026-11-01",
        *(f"{stage} --run-id=2026-11-25-all-g1" for stage in STAGES[1:]),
    ]


def test_a_blocked_gate_publishes_nothing_reports_and_stays_red(played: Played) -> None:
    assert played.run("blocked")["state"] == "failed"
    assert played.states("blocked") == {
        **dict.fromkeys(["plan", "embed", "complements", "report"], "success"),
        "check": "failed",
        "publish": "upstream_failed",
        "summary": "upstream_failed",
    }
    assert [c.split()[0] for c in played.calls("blocked")] == ["plan", "embed", "complements", "check", "report"]


def test_a_passing_fault_is_retried_and_keeps_its_date(played: Played) -> None:
    assert played.run("retried")["state"] == "success"
    assert played.run("retried")["tries"] == {**dict.fromkeys(STAGES, 1), "plan": 2, "embed": 3}
    plans = [c for c in played.calls("retried") if c.startswith("plan")]
    assert plans == ["plan --catalog=c.csv --teacher=t --run-date=2026-11-03"] * 2


def test_a_lasting_fault_ends_red_after_two_retries(played: Played) -> None:
    assert played.run("retried too often")["state"] == "failed"
    assert played.states("retried too often")["embed"] == "failed"
    assert [c.split()[0] for c in played.calls("retried too often")] == ["plan", "embed", "embed", "embed"]


def test_a_bug_is_not_retried_and_nothing_follows(played: Played) -> None:
    assert played.run("bug")["state"] == "failed"
    assert [c.split()[0] for c in played.calls("bug")] == ["plan", "embed", "complements"]
    assert played.states("bug")["report"] == "upstream_failed"  # no lists, nothing to show


def test_a_dry_run_plans_and_skips_the_rest(played: Played) -> None:
    assert played.run("dry")["state"] == "success"
    assert played.states("dry") == {"plan": "success", **dict.fromkeys(STAGES[1:], "skipped")}
    assert played.calls("dry") == ["plan --catalog=c.csv --teacher=t --run-date=2026-11-06 --dry-run"]


def test_a_misspelt_parameter_stops_the_run_before_anything_runs(played: Played) -> None:
    assert played.run("misspelt")["state"] == "failed"
    assert played.states("misspelt")["plan"] == "failed"
    assert played.calls("misspelt") == []
    assert "unknown parameter dryrun" in played.answer["log"]


def test_parameters_reach_the_plan(played: Played) -> None:
    assert played.run("lake only")["state"] == "success"
    assert played.calls("lake only")[0] == "plan --catalog=c.csv --teacher=t --run-date=2026-11-20 --no-publish"


def test_a_run_without_a_logical_date_takes_the_day_it_was_asked_for(played: Played) -> None:
    assert played.run("no logical date")["state"] == "success"
    # 23:30 UTC on the 24th is the 25th in the shop
    assert played.calls("no logical date")[0] == "plan --catalog=c.csv --teacher=t --run-date=2026-11-25"


def test_the_backfill_form_calls_one_command(played: Played) -> None:
    assert played.run("backfill")["state"] == "success"
    assert played.calls("backfill") == ["backfill --from=2026-11-01 --to=2026-11-02 --reason=lost days --teacher=t"]


# --- embed.shards above 1 ------------------------------------------------------------------------------------------


def test_with_shards_one_mapped_task_comes_before_the_end_of_the_stage(played: Played) -> None:
    tasks = played.run("sharded")["dag"]["tasks"]
    whole = played.answer["dags"]["medal_nightly"]["tasks"]
    assert list(tasks) == ["plan", "embed_shard", *STAGES[1:]]
    assert tasks.pop("embed_shard") == {
        **whole["embed"], "pool": "medal_shards", "mapped": True, "upstream": ["plan"]
    }  # fmt: skip
    assert tasks.pop("embed") == {**whole["embed"], "upstream": ["embed_shard"]}
    assert tasks == {name: task for name, task in whole.items() if name != "embed"}
    assert not any(task["mapped"] for task in whole.values())


def test_a_sharded_night_embeds_in_parts_and_ends_the_stage_once(played: Played) -> None:
    assert played.run("sharded")["state"] == "success"
    assert played.states("sharded") == dict.fromkeys([*STAGES, *SHARDS], "success")
    assert played.run("sharded")["labels"] == SHARDS
    run = "--run-id=2026-11-25-all-g1"
    calls = played.calls("sharded")
    calls[1:4] = sorted(calls[1:4])  # shards come in any order
    assert calls == [
        "plan --catalog=c.csv --teacher=t --run-date=2026-11-10 --accept=prices",
        *(f"embed {run} --shard={n}/3" for n in (1, 2, 3)),
        *(f"{stage} {run}" for stage in STAGES[1:]),
    ]


def test_a_shard_that_meets_a_passing_fault_is_retried_alone(played: Played) -> None:
    assert played.run("shard retried")["state"] == "success"
    assert played.run("shard retried")["tries"] == {**dict.fromkeys([*STAGES, *SHARDS], 1), "embed_shard[1]": 3}
    assert sorted(c.split("=")[-1] for c in played.calls("shard retried") if "--shard" in c) == [
        "1/3", "2/3", "2/3", "2/3", "3/3",
    ]  # fmt: skip


@pytest.mark.parametrize(("night", "red", "tries"), [("shard refused", 1, 1), ("shard lost", 2, 3)])
def test_a_shard_that_fails_for_good_keeps_the_stage_from_ending(
    played: Played, night: str, red: int, tries: int
) -> None:
    assert played.run(night)["state"] == "failed"
    assert played.states(night) == {
        **dict.fromkeys(["plan", *SHARDS], "success"),
        f"embed_shard[{red}]": "failed",
        **dict.fromkeys(STAGES[1:], "upstream_failed"),
    }
    assert played.run(night)["tries"][f"embed_shard[{red}]"] == tries
    assert "embed --run-id=2026-11-25-all-g1" not in played.calls(night)[: 3 + tries]


def test_a_failed_shard_that_is_cleared_runs_alone_and_the_night_goes_on(played: Played) -> None:
    cleared = played.run("shard refused")["cleared"]
    assert cleared["state"] == "success"
    assert cleared["tasks"] == dict.fromkeys([*STAGES, *SHARDS], "success")
    assert [c.split()[0] + c.split("1")[-1] for c in played.calls("shard refused")[4:]] == [
        "embed --shard=2/3", *STAGES[1:]
    ]  # fmt: skip


def test_the_end_of_the_stage_is_retried_without_its_shards(played: Played) -> None:
    assert played.run("end retried")["tries"] == {**dict.fromkeys([*STAGES, *SHARDS], 1), "embed": 2}


def test_a_dry_run_skips_shards_too(played: Played) -> None:
    assert played.run("sharded dry")["state"] == "success"
    assert played.states("sharded dry") == {"plan": "success", **dict.fromkeys([*STAGES[1:], *SHARDS], "skipped")}
    assert len(played.calls("sharded dry")) == 1
