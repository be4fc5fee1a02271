"""The embed stage on all real photos: what it costs when nothing is new, and its vectors beside a plain reference.

`pytest -m slow -s tests/e2e/test_embed_whole.py` prints the figures; several minutes.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from jobs.lake import Lake
from schemas.taxonomy import load_taxonomy

FASHION = Path(__file__).resolve().parents[3] / "shared" / "data" / "fashion"
ROOT = Path(__file__).resolve().parents[2]
REFERENCE, REFERENCE_BATCH, TOP = 5_000, 50, 10
pytestmark = [pytest.mark.slow, pytest.mark.real_data, pytest.mark.timeout(3600)]

Float32 = npt.NDArray[np.float32]


@dataclass
class Night:
    """A shop of all photos, and `medal plan` and `medal embed` of it."""

    folder: Path
    teacher: Path

    @property
    def lake(self) -> Lake:
        return Lake(str(self.folder / "lake"))

    def run(self, date: str) -> tuple[dict[str, float], dict[str, Any]]:
        """Seconds of the two processes, and the manifest of the run."""
        catalog = str(self.folder / "shop" / "catalog.csv")
        took = {}
        for step, arguments in (
            ("plan", ["--catalog", catalog, "--teacher", str(self.teacher), "--run-date", date]),
            ("embed", ["--run-id", f"{date}-all-g1"]),
        ):
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "jobs", step, *arguments],
                env={**os.environ, "MEDAL_LAKE": str(self.folder / "lake")},
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            took[step] = time.perf_counter() - begun
        manifest = json.loads((self.folder / "lake" / "runs" / f"{date}-all-g1" / "manifest.json").read_text())
        return took, manifest

    def listing(self) -> float:
        """Seconds of asking for size and time of every photo, and nothing else."""
        begun = time.perf_counter()
        for entry in os.scandir(self.folder / "shop" / "images"):
            entry.stat()
        return time.perf_counter() - begun


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, teacher_dir: Path) -> Iterator[Night]:
    if not (FASHION / "catalog.csv").is_file():
        pytest.skip(f"{FASHION} is not on this machine")
    night = Night(tmp_path_factory.mktemp("whole"), teacher_dir)
    (night.folder / "shop").mkdir()
    shutil.copytree(FASHION / "images", night.folder / "shop" / "images")
    shutil.copy(FASHION / "catalog.csv", night.folder / "shop" / "catalog.csv")
    took, manifest = night.run("2026-01-01")
    counts = manifest["stages"]["embed"]["counts"]
    print(f"\nfirst night: {told(took, manifest['stages']['embed'])}, {counts}")
    assert counts["embedded"] + counts.get("reused", 0) >= 7_000
    yield night
    shutil.rmtree(night.folder)


def told(took: dict[str, float], stage: dict[str, Any]) -> str:
    return f"plan {took['plan']:.2f} s, embed {took['embed']:.2f} s (its stage {stage['seconds']:.2f} s)"


def rows(night: Night) -> list[tuple[str, Float32]]:
    table = night.lake.read("embeddings", night.lake.version("embeddings"), columns=["item_id", "vector"])
    return [(r["item_id"], np.array(r["vector"], np.float32)) for r in table.to_pylist()]


def test_vectors_are_those_of_a_plain_network_in_other_batches(first: Night) -> None:
    """5,000 photos through timm's network as it comes, batches of another size on all cores, float32."""
    import torch

    from medal_model.backbones import load_backbone
    from medal_model.teacher import load_teacher

    with (FASHION / "catalog.csv").open(encoding="utf-8", newline="") as f:
        products = list(csv.DictReader(f))
    made, taxonomy, teacher = dict(rows(first)), load_taxonomy(), load_teacher(first.teacher)
    products = [r for r in products if r["item_id"] in made]
    chosen = [products[i] for i in np.sort(np.random.default_rng(6).permutation(len(products))[:REFERENCE])]
    teacher.extractor._backbone = load_backbone(teacher.extractor.spec)
    wanted = []
    for at in range(0, len(chosen), REFERENCE_BATCH):
        part = chosen[at : at + REFERENCE_BATCH]
        pixels = torch.stack([teacher.preprocess((FASHION / r["image"]).read_bytes()) for r in part])
        wanted.append(teacher.embed(pixels).numpy())
    reference = np.concatenate(wanted).astype(np.float64)
    got = np.stack([made[r["item_id"]] for r in chosen]).astype(np.float64)
    cosine = (reference * got).sum(1) / np.linalg.norm(reference, axis=1) / np.linalg.norm(got, axis=1)
    category = np.array([taxonomy.category(r["category"], r["product_type"]) for r in chosen])
    shared, lists = 0, 0
    for source, target in taxonomy.pairs():
        weights = np.asarray(teacher.header.weights(source, target), np.float64)
        of, to = category == source, category == target
        if not of.any() or to.sum() < TOP:
            continue
        tops = [np.argsort(-((z[of] * weights) @ z[to].T), axis=1, kind="stable")[:, :TOP] for z in (reference, got)]
        shared += sum(len(set(a) & set(b)) for a, b in zip(*map(np.ndarray.tolist, tops), strict=True))
        lists += int(of.sum())
    overlap = shared / TOP / lists
    print(f"\n{len(chosen):,} vectors: least cosine {cosine.min():.8f}; overlap@10 of {lists:,} lists {overlap:.5f}")
    assert cosine.min() >= 0.9999
    assert lists > REFERENCE and overlap >= 0.99


def test_a_night_with_nothing_new_reads_nothing(first: Night) -> None:
    before, version = dict(rows(first)), first.lake.version("embeddings")
    # Other bytes of the same size and time: whoever reads one embeds it anew or puts it in quarantine.
    spoilt = sorted((first.folder / "shop" / "images").iterdir())[::50]
    kept = {p: (p.read_bytes(), p.stat()) for p in spoilt}
    for path, (data, stat) in kept.items():
        path.write_bytes(data[::-1])
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    took, manifest = first.run("2026-01-02")
    stage = manifest["stages"]["embed"]
    print(f"\nnothing new: {told(took, stage)}; listing alone {first.listing():.3f} s")
    assert stage["status"] == "skipped" and stage["counts"]["images_read"] == 0 and stage["counts"]["bytes_read"] == 0
    assert first.lake.version("embeddings") == version
    for path, (data, stat) in kept.items():
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with (first.folder / "shop" / "catalog.csv").open(encoding="utf-8", newline="") as f:
        images = [first.folder / "shop" / r["image"] for r in csv.DictReader(f) if r["item_id"] in before][::100]
    for path in images:
        data = path.read_bytes()  # a comment makes other bytes of the same picture
        path.write_bytes(data[:2] + b"\xff\xfe\x00\x05new" + data[2:])
    took, manifest = first.run("2026-01-03")
    stage = manifest["stages"]["embed"]
    print(f"1 % new: {told(took, stage)}, {stage['counts']}")
    counts = stage["counts"]
    assert counts["images_read"] == counts["embedded"] + counts["reused"] == len(images)
    after = rows(first)
    assert len(after) == len(before) + len(images)
    assert all((before[i] == v).all() for i, v in after), "the same pixels, the same bits"
