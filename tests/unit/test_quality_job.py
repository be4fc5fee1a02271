"""The stage `check` on a lake: what it logs, what it leaves in the manifest, and that a block leaves no entry."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clean_night as f
import pytest

from jobs.errors import DataError, GateBlocked
from jobs.lake import Lake
from jobs.lease import held
from jobs.quality import commands, job
from jobs.runs import StageResult
from jobs.stage import run_stage


@pytest.fixture(autouse=True)
def teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    header = SimpleNamespace(model_version="m-1", weights=f.weights)
    monkeypatch.setattr(job, "read_header", lambda path: header)


def logged(lake: Lake) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake.read("quality_results", lake.version("quality_results")).to_pylist()
    return rows


def checked(settings: Any, run_id: str = f.RUN_ID) -> StageResult:
    return run_stage("check", job.run, settings, run_id)


def test_a_clean_run_is_logged_and_enters_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = f.products()
    settings, lake, _ = f.write_night(tmp_path, made, f.lists(made))
    result = checked(settings)
    assert lake.manifest(f.RUN_ID).stages["check"] == result
    assert {o: sum(r["outcome"] == o for r in logged(lake)) for o in ("passed", "failed", "crashed")} == {
        "passed": len(logged(lake)), "failed": 0, "crashed": 0,
    }  # fmt: skip
    assert result.counts["checks"] == result.counts["passed"] == len(logged(lake))
    assert result.counts["coverage"] == pytest.approx(
        360 / 366
    )  # one product has no vector, so its two feasible lists of three are empty
    assert 0 < result.counts["gini_even"] < result.counts["gini"] < 1
    assert 1 / 60 < result.counts["top1_share"] < result.counts["shown_share"] <= 1
    assert f"Gini {result.counts['gini']:.3f} ({result.counts['gini_even']:.3f}); exact search" in result.note
    assert dict(result.reads) == {"catalog": 0, "embeddings": 0, "complements": 0}
    assert (tmp_path / "lake" / "runs" / f.RUN_ID / "data_docs" / "index.html").is_file()
    commands.show(job.load_verdict(lake, f.RUN_ID))
    assert capsys.readouterr().out.startswith("OK: ")


def test_a_blocked_run_says_what_failed_and_what_crashed_and_leaves_no_manifest_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = f.products()
    lists = copy.deepcopy(f.lists(made))
    full = next(r for r in lists if r["size"] == f.K)
    full["items"][0]["item_id"] = full["item_id"]
    suites = tmp_path / "suites"
    suites.mkdir()
    for path in job.load_suites.__globals__["SUITES_DIR"].glob("*.yaml"):
        text = path.read_text(encoding="utf-8").replace("column: over_k", "column: ovr_k")
        (suites / path.name).write_text(text, encoding="utf-8")
    settings, lake, manifest = f.write_night(tmp_path, made, lists)
    settings = settings.model_copy(update={"gate": settings.gate.model_copy(update={"suites_dir": suites})})
    with pytest.raises(GateBlocked) as e:
        checked(settings)
    line = str(e.value)
    assert "\n" not in line
    assert "failed: " in line
    assert "complements.no_self (1)" in line
    assert "1 check crashed, data unknown: complements.at_most_k" in line
    assert line.endswith("data_docs/index.html")
    assert lake.manifest(f.RUN_ID) == manifest
    outcome = {r["check"]: r["outcome"] for r in logged(lake)}
    assert outcome["no_self"] == "failed"
    assert outcome["at_most_k"] == "crashed"
    commands.show(job.load_verdict(lake, f.RUN_ID))
    shown = capsys.readouterr().out
    assert "crashed" in shown
    assert "blocked: " in shown


def test_a_run_without_lists_is_refused(tmp_path: Path) -> None:
    made = f.products()
    settings, _, _ = f.write_night(tmp_path, made, f.lists(made), with_lists=False)
    with pytest.raises(DataError, match="medal complements"):
        checked(settings)


def test_a_teacher_that_changed_since_the_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = f.products()
    settings, _, _ = f.write_night(tmp_path, made, f.lists(made))
    monkeypatch.setattr(job, "read_header", lambda path: SimpleNamespace(model_version="m-2", weights=f.weights))
    with pytest.raises(DataError, match="planned with m-1"):
        checked(settings)


def test_data_docs_are_copied_into_a_lake_that_is_no_folder(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "static").mkdir(parents=True)
    (site / "index.html").write_text("x")
    (site / "static" / "a.css").write_text("y")
    lake = Lake(str(tmp_path / "lake"))
    job.upload(lake, site, "runs/r/data_docs")
    assert lake.files.list("runs/") == ["runs/r/data_docs/index.html", "runs/r/data_docs/static/a.css"]


def test_nothing_is_checked_while_another_run_holds_the_lease(tmp_path: Path) -> None:
    made = f.products()
    settings, lake, _ = f.write_night(tmp_path, made, f.lists(made))
    with held(lake, "another run", 60), pytest.raises(Exception, match="another run"):
        checked(settings)
