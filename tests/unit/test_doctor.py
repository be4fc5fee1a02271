"""`medal doctor` tells each part that is missing, with the mend, and its exit code says whether any is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from jobs.doctor import checks
from jobs.doctor.checks import Finding
from jobs.doctor.commands import register
from jobs.lake import Lake
from jobs.lease import NAME, LeaseRecord, held
from jobs.settings import EmbedSettings, Settings, SparkSettings, StoreSettings


def settings_in(root: Path, **more: object) -> Settings:
    given: dict[str, object] = {"lake": str(root / "lake"), "store": StoreSettings(path=root / "pdp.sqlite"), **more}
    return Settings(**given)  # type: ignore[arg-type]


def java_that_says(folder: Path, text: str) -> None:
    binary = folder / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\ncat >&2 <<'E'\n{text}\nE\n")
    binary.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ('openjdk version "17.0.15" 2025-04-15', "ok"),
        ('openjdk version "21" 2023-09-19', "fail"),
        ('java version "1.8.0_402"', "fail"),
        ("cannot execute", "fail"),
    ],
)
def test_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, level: str) -> None:
    java_that_says(tmp_path, said)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    found = checks.java(settings_in(tmp_path))
    assert found.level == level
    assert ("install a Java 17 runtime" in found.mend) is (level == "fail")


def test_no_java_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.java(settings_in(tmp_path)).level == "fail"


def test_missing_jars_name_the_mend(tmp_path: Path) -> None:
    found = checks.jars(settings_in(tmp_path, spark=SparkSettings(jars_dir=tmp_path / "none")))
    assert (found.level, "make install" in found.mend) == ("fail", True)


def test_cuda_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checks.torch(settings_in(tmp_path, embed=EmbedSettings(device="cuda"))).level == "fail"
    assert checks.torch(settings_in(tmp_path)).level == "ok"


def test_a_lake_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    found = checks.lake(settings_in(tmp_path))
    assert (found.level, (tmp_path / "lake").exists()) == ("ok", False)
    (tmp_path / "lake").mkdir()
    assert checks.lake(settings_in(tmp_path)).found.endswith("is writable")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_lake_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir(mode=0o500)
    assert checks.lake(settings_in(tmp_path)).level == "fail"


def test_a_lake_whose_root_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    assert checks.lake(settings_in(tmp_path)).level == "fail"


def test_an_s3_lake_out_of_reach_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    found = checks.lake(settings_in(tmp_path, lake="s3://bucket/shop", s3_endpoint_url="http://127.0.0.1:1"))
    assert (found.level, "s3_endpoint_url" in found.mend) == ("fail", True)


def test_the_leases_state(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert checks.lease(settings) == Finding("lease", "ok", "free")
    lake = Lake(settings.lake)
    with held(lake, "tonight", 30):
        found = checks.lease(settings)
        assert (found.level, "held by tonight" in found.found) == ("warn", True)
    assert checks.lease(settings).found == "free"
    lake.files.write(NAME, LeaseRecord("dead", "t", "another-host", 1, time.time() - 1).encode())
    assert "left behind by dead" in checks.lease(settings).found


def test_a_store_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    assert checks.store(settings_in(tmp_path)).level == "ok"
    assert not (tmp_path / "pdp.sqlite").exists()


def test_a_store_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "pdp.sqlite").write_text("not a database, but long enough to have been one once upon a time" * 20)
    assert checks.store(settings_in(tmp_path)).level == "fail"


def test_a_check_that_breaks_is_a_finding(tmp_path: Path) -> None:
    def broken(settings: Settings) -> Finding:
        raise RuntimeError("it\nbroke")

    assert checks.examine(settings_in(tmp_path), [("part", broken)])[0].found == "RuntimeError: it broke"


# --- the command ---------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    done = CliRunner().invoke(app, ["doctor", *arguments])
    return done.exit_code, done.output


def test_bad_settings_are_told_and_end_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medal.yaml").write_text("laek: x\n")
    code, said = run()
    assert code == 2
    assert said.startswith("fail  settings")
    assert "laek" in said


@pytest.mark.parametrize("level", ["ok", "warn", "fail"])
def test_the_exit_code_follows_the_worst(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, level: checks.Level) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "CHECKS", (("part", lambda s: Finding("part", level, "found", "mend it")),))
    expected = 2 if level == "fail" else 0
    code, said = run()
    assert (code, f"{level:<5} part" in said, "→ mend it" in said) == (expected, True, True)
    code, said = run("--json")
    assert code == expected
    assert json.loads(said)["findings"][1] == {"name": "part", "level": level, "found": "found", "mend": "mend it"}
    assert json.loads(said)["ok"] is (level != "fail")
