"""`medal bench embed`: its JSON, the photos it draws or reads, what it measures against."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jobs.bench.embed_decode import Order, drawn, measure, read, reference
from jobs.bench.embed_job import JobOrder
from jobs.bench.embed_job import measure as measure_stage
from jobs.bench.embed_process import run_process
from jobs.cli import build_app
from jobs.errors import DataError


def test_the_last_line_has_the_figures(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "embed.json"
    got = CliRunner().invoke(
        build_app(),
        ["bench", "embed", "--photos", "4", "--pixels", "200", "--size", "64", "--rounds", "2", "--items", "0"]
        + ["--rows", "500", "--out", str(out)],
    )
    assert got.exit_code == 0, got.output
    result = json.loads(got.stdout.splitlines()[-1])
    assert json.loads(out.read_text()) == result
    assert result["photos"] == 4
    assert set(result["parts"]) == {"decode", "trim", "resize", "histogram"}
    assert all(result["parts"].values())
    assert 0.3 < result["decode_ratio"] * result["ours_ms"] / result["baseline_ms"] < 3
    assert result["off_mean_worst"] <= 1.0
    assert result["rows_per_s_written"] > 0 and result["written"]["rows"] == 500


def test_photos_are_drawn_the_same_again_and_differ() -> None:
    order = Order(photos=6, pixels=96)
    files = drawn(order)
    assert files == drawn(order)
    assert len(set(files)) == 6
    assert all(Image.open(io.BytesIO(f)).size == (96, 96) for f in files)
    assert drawn(Order(photos=1, pixels=96, seed=8))[0] != files[0]


def test_photos_of_a_folder_are_scaled_and_what_is_none_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (30, 50), (200, 10, 10)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"<html>")
    files = read(Order(photos=5, pixels=64, images=tmp_path))
    assert [Image.open(io.BytesIO(f)).size for f in files] == [(64, 64)]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="no photo that can be read"):
        read(Order(images=tmp_path))


def test_the_whole_stage_beside_the_bare_network(teacher_dir: Path) -> None:
    photos = drawn(Order(photos=3, pixels=96))
    got = measure_stage(JobOrder(teacher_dir, photos, items=20, memory_items=(4, 12)), lambda line: None)
    assert got["job"]["embedded"] == got["job"]["images_read"] == 20, "copies of a photo count as photos"
    for ratio, network in (("ratio_to_forward", "timm"), ("ratio_to_own_forward", "own")):
        bare = got["forward"][network]
        assert bare["images_per_s"] == max(bare["one_batch"], bare["batch_a_core"])
        assert got[ratio] == pytest.approx(got["job_s"] * bare["images_per_s"] / 20, rel=0.01)
    assert set(got["peak_rss_mib"]) == {4, 12} and min(got["peak_rss_mib"].values()) > 200


def test_a_process_is_not_charged_with_its_parents_memory() -> None:
    used = run_process([sys.executable, "-c", "import time; b = bytearray(50 << 20); time.sleep(0.5)"], {}, "child")
    assert 50 < used.peak_rss_mib < 150 and used.s > 0.5, "the parent has torch loaded"


def test_a_stage_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"jobs plan ended with 4: .*no such file"):
        measure_stage(JobOrder(tmp_path, drawn(Order(photos=1, pixels=64)), items=2), lambda line: None)


@pytest.mark.parametrize(
    "args", [["--images", "/no/such/folder"], ["--photos", "0"], ["--memory", "a", "--photos", "1"], ["--memory", "0"]]
)
def test_wrong_arguments_are_refused(args: list[str]) -> None:
    assert CliRunner().invoke(build_app(), ["bench", "embed", *args]).exit_code != 0


def test_the_reference_is_unrounded_and_lays_alpha_on_white() -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 128))
    out = io.BytesIO()
    image.save(out, "PNG")
    got = reference(out.getvalue(), 20, trim=False)
    assert got.reshape(-1, 3).mean(0) == pytest.approx((255, 255 * 127 / 255, 255 * 127 / 255), abs=0.01)
    assert np.ptp(got.reshape(-1, 3), axis=0).max() < 0.01


def test_figures_of_one_round_are_plain_values() -> None:
    result = measure(Order(photos=3, pixels=64, size=32, rounds=1), lambda line: None)
    assert json.loads(json.dumps(result)) == result
    assert result["ours_ms"] > 0
    assert result["baseline_ms"] > 0
