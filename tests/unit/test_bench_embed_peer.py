"""clip-retrieval's loop in `medal bench embed`: what it makes, and what is said where it is not installed."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from require import require

from jobs.bench.embed_decode import Order, drawn, peer_transform
from jobs.bench.embed_peer import against, loop, settings
from jobs.errors import DataError
from medal_model.teacher import load_teacher

PYTHON = Path(__file__).resolve().parents[2] / "var" / "peers-embed" / "bin" / "python"
STAGE = {"s": 2.0, "process_s": 4.0, "cpu_s": 8.0}


def _say(line: str) -> None:
    """Nothing is shown."""


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    (tmp_path / "photos").mkdir()
    paths = [tmp_path / "photos" / f"{n}.jpg" for n in range(8)]
    for path, data in zip(paths, drawn(Order(photos=8, pixels=96)), strict=True):
        path.write_bytes(data)
    return paths


def test_its_loop_embeds_every_photo_by_the_teachers_network(
    tmp_path: Path, teacher_dir: Path, photos: list[Path]
) -> None:
    require("clip-retrieval")
    got = loop(PYTHON, tmp_path / "photos", tmp_path / "out", teacher_dir, 3, 2, 1)
    assert got["rows"] == 8 and (got["workers"], got["threads"]) == (2, 1) and got["version"] == "2.45.0"
    assert 0 < got["s"] < got["process_s"] and got["cpu_s"] > 0
    assert got["read_s"] + got["inference_s"] + got["write_s"] <= got["s"]
    named = pq.read_table(tmp_path / "out" / "metadata" / "metadata_0.parquet")["image_path"].to_pylist()
    assert named == [str(p) for p in photos]
    vectors = np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy").astype(np.float32)
    assert vectors.shape == (8, 128) and np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=0.01)
    teacher = load_teacher(teacher_dir)
    spec = teacher.extractor.spec
    import torch

    x = peer_transform(teacher.input_size, spec.mean, spec.std)(Image.open(io.BytesIO(photos[3].read_bytes())))
    with torch.inference_mode():
        z = teacher.heads(teacher.extractor._backbone(x[None]), torch.full((1, 512), 1 / 512))[0]
    assert float(z @ torch.from_numpy(vectors[3])) > 0.999


def test_a_loop_that_fails_is_told(tmp_path: Path, photos: list[Path]) -> None:
    require("clip-retrieval")
    with pytest.raises(DataError, match=r"clip-retrieval ended with 1: .*no such"):
        loop(PYTHON, tmp_path / "photos", tmp_path / "out", tmp_path / "no-teacher", 3, 1, 1)


@pytest.mark.parametrize("python", [Path("/no/such/python"), Path(sys.executable)], ids=["no python", "no package"])
def test_where_it_is_not_installed_that_is_said(tmp_path: Path, teacher_dir: Path, python: Path) -> None:
    got = against([STAGE], [], teacher_dir, 4, python, tmp_path, _say)
    assert list(got) == ["skipped"] and "`make peers` installs it" in got["skipped"]


_FAKE = """#!{python}
import json, os, pathlib, sys
if sys.argv[1] == "-c":
    sys.exit(0)
photos, out, teacher, batch, workers, threads = sys.argv[3:]
json.dump({{"s": 9.0 - int(workers) - int(threads), "rows": {rows}, "workers": int(workers), "threads": int(threads)}},
          open(out + "/loop.json", "w"))
"""


def _peer(folder: Path, rows: str) -> Path:
    """A program in the peer's place, for what is made of its answer."""
    path = folder / "python"
    path.write_text(_FAKE.format(python=sys.executable, rows=rows))
    path.chmod(0o755)
    return path


def test_the_fastest_setting_counts_and_a_faster_stage_is_above_1(
    tmp_path: Path, teacher_dir: Path, photos: list[Path]
) -> None:
    python = _peer(tmp_path, "len(os.listdir(photos))")
    slow = {"s": 6.0, "process_s": 4.0, "cpu_s": 8.0}
    got = against([STAGE, slow], photos[:5], teacher_dir, 4, python, tmp_path, _say)
    cores = len(os.sched_getaffinity(0))
    assert [(r["workers"], r["threads"]) for r in got["all"]] == settings(cores)
    assert got["s"] == min(r["s"] for r in got["all"]) and got["rows"] == 5
    assert got["loop_ratio"] == pytest.approx(got["s"] / 4), "4 s: the median of the stages"
    assert got["ratio"] == pytest.approx(got["process_s"] / 4, abs=0.001)


def test_a_photo_that_it_left_out_ends_the_comparison(tmp_path: Path, teacher_dir: Path, photos: list[Path]) -> None:
    with pytest.raises(DataError, match="embedded 7 of 8 photos"):
        against([STAGE], photos, teacher_dir, 4, _peer(tmp_path, "7"), tmp_path, _say)


@pytest.mark.parametrize(("cores", "count"), [(1, 2), (2, 4), (8, 6)])
def test_settings_go_from_one_worker_to_one_a_core(cores: int, count: int) -> None:
    got = settings(cores)
    assert len(got) == len(set(got)) == count
    assert {(1, 1), (2, 1), (max(2, cores), cores)} <= set(got)
