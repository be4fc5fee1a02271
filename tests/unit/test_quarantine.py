"""`medal quarantine`: what is there and why, and out of it at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from embed_shop import Shop, encoded, picture

from jobs.cli import run
from jobs.lease import held
from jobs.settings import EmbedSettings
from jobs.stage import open_lake

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def shop(tmp_path: Path, teacher_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A night on which two images are no images and one is missing."""
    made = Shop(tmp_path, teacher_dir)
    own = EmbedSettings(batch_size=4, slice_size=3, retry_days=9)
    made.settings = made.settings.model_copy(update={"embed": own})
    made.put("good", encoded(picture(), "JPEG"))
    made.put("html1", b"<!DOCTYPE html><html></html>")
    made.put("html2", b"<!DOCTYPE html><html><p></html>")
    made.put("gone", None)
    made.night("2026-01-01")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDAL_LAKE", made.settings.lake)
    return made


def test_list_tells_classes_and_rows(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quarantine", "list"]) == 0
    out = capsys.readouterr().out
    assert "3 images" in out and "not_an_image" in out and "missing" in out and "2026-01-10" in out
    assert run(["quarantine", "list", "--json", "--error-class", "missing"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["item_id"], row["attempts"], row["run_id"]) == ("gone", 1, "2026-01-01-all-g1")
    assert run(["quarantine", "list", "--limit", "1"]) == 0
    assert "2 more" in capsys.readouterr().out


def test_show_tells_all_of_one(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quarantine", "show", "html1"]) == 0
    out = capsys.readouterr().out
    assert "not_an_image" in out and "2026-01-10" in out and "html1.jpg" in out and "the image itself" in out


@pytest.mark.parametrize(
    ("chosen", "again"),
    [
        (["html1"], {"html1"}),
        (["--error-class", "not_an_image"], {"html1", "html2"}),
        (["html1", "gone", "--error-class", "missing"], {"gone"}),
        (["html1", "html2", "gone"], {"html1", "html2", "gone"}),
    ],
)
def test_retry_is_taken_up_by_the_next_night(
    shop: Shop, chosen: list[str], again: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quarantine", "retry", *chosen]) == 0
    assert f"{len(again)} images" in capsys.readouterr().out
    shop.night("2026-01-02")
    after = shop.quarantine()
    assert {i for i, r in after.items() if r["run_id"] == "2026-01-02-all-g1"} == again
    assert {i: r["attempts"] for i, r in after.items()} == {i: 2 if i in again else 1 for i in after}


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["retry"], 2, "nothing is retried by default"),
        (["retry", "nobody"], 2, "nobody: not in quarantine; see `medal quarantine list`"),
        (["list", "--model", "none"], 2, "--model none: nothing of this model"),
        (["show", "good"], 4, "good: not in quarantine"),
        (["list", "--limit", "0"], 2, ""),
    ],
)
def test_what_cannot_be_done_is_told(
    shop: Shop, args: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quarantine", *args]) == code
    told = capsys.readouterr()
    assert words in told.err and "Traceback" not in told.err


def test_a_run_that_is_writing_is_not_disturbed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    with held(open_lake(shop.settings), "medal embed of a night", 60):
        assert run(["quarantine", "retry", "gone"]) == 5
    assert "medal embed of a night" in capsys.readouterr().err


def test_an_empty_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDAL_LAKE", str(tmp_path / "lake"))
    assert run(["quarantine", "list"]) == 0
    assert capsys.readouterr().out == "nothing is in quarantine\n"
