"""What `medal bench embed` says of the embed stage as a whole: its time beside the bare network's, and its memory.

The stage runs as a user runs it, in a process of its own: plan, then `medal embed` on files in a folder. The bare
network is the same teacher's backbone and heads on batches that lie in memory as floats, threads set in the better
of two ways: once as timm gives it, once as the stage runs it (`medal_model.backbones.folded`). Then clip-retrieval's
loop sees the stage's photos (`embed_peer`).
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from jobs.bench.embed_peer import against
from jobs.bench.embed_process import run_process

if TYPE_CHECKING:
    from torch import Tensor

    from medal_model.teacher import Teacher

_DATE = "2026-01-01"
_BARE = 1_500  # images after which the bare network's rate is known


@dataclass(frozen=True)
class JobOrder:
    """`items` images in each of `rounds`; memory is taken at each of `memory_items`."""

    teacher: Path
    photos: Sequence[bytes]  # JPEG files; copies with other comments are made of them
    items: int = 1000
    rounds: int = 1
    memory_items: tuple[int, ...] = ()
    batch: int = 8  # as the stage has it on a CPU
    work: Path | None = None
    peer_python: Path | None = None  # none: no peer


def measure(order: JobOrder, say: Callable[[str], None]) -> dict[str, Any]:
    """Plain JSON values. Raises DataError with the stage's own words where it fails."""
    with tempfile.TemporaryDirectory(prefix="medal-bench-embed-", dir=order.work) as folder:
        work = Path(folder)
        make_shop(work / "shop", order.photos, max((order.items, *order.memory_items)))
        jobs, bare = [], []
        for n in range(order.rounds if order.items else 0):
            jobs.append(stage(work, order, order.items, f"lake-{n}"))
            bare.append(forward(order))
            say(
                f"embed: {order.items:,} images in {jobs[-1]['s']:.1f} s, the bare network as timm gives it "
                f"{order.items / bare[-1]['timm']['images_per_s']:.1f} s, as the stage runs it "
                f"{order.items / bare[-1]['own']['images_per_s']:.1f} s"
            )
        peaks = {}
        for n in order.memory_items:
            made = jobs[-1] if jobs and n == order.items else stage(work, order, n, f"lake-m{n}")
            peaks[n] = made["peak_rss_mib"]
            say(f"memory: {n:,} images, peak {peaks[n]:,.0f} MiB")
        peer = None
        if jobs and order.peer_python is not None:
            photos = [work / "shop" / _photo(n) for n in range(order.items)]
            peer = against(jobs, photos, order.teacher, order.batch, order.peer_python, work, say)

    def ratio(whose: str) -> float:
        pairs = zip(jobs, bare, strict=True)
        return round(median(j["s"] * b[whose]["images_per_s"] / order.items for j, b in pairs), 3)

    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    if jobs:
        result |= {
            "items": order.items,
            "ratio_to_forward": ratio("timm"),
            "ratio_to_own_forward": ratio("own"),
            "job_s": round(median(j["s"] for j in jobs), 3),
            "forward": bare[-1],
            "job": jobs[-1],
        }
    if peer is not None:
        result["vs_clip_retrieval"] = peer
    if len(peaks) > 1:
        least, most = min(peaks), max(peaks)
        result["rss_mib_per_1000_items"] = round((peaks[most] - peaks[least]) / (most - least) * 1000, 3)
        result["peak_rss_mib"] = peaks
    return result


def make_shop(folder: Path, photos: Sequence[bytes], items: int) -> None:
    """A catalogue of `items` products, whose photos differ at least in their comment."""
    (folder / "images").mkdir(parents=True)
    for n in range(items):
        comment = f"photo {n}".encode()
        photo = photos[n % len(photos)]
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (folder / _photo(n)).write_bytes(photo[:2] + segment + photo[2:])


def _photo(number: int) -> str:
    return f"images/{number:06d}.jpg"


def stage(work: Path, order: JobOrder, items: int, lake: str) -> dict[str, Any]:
    """Plan and embed the first `items`; seconds of `medal embed`'s stage, its figures and its process'."""
    catalog = work / "shop" / "catalog.csv"
    with catalog.open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["item_id", "category", "image"])
        writer.writerows([f"p{n:06d}", "tops", _photo(n)] for n in range(items))
    env = {**os.environ, "MEDAL_LAKE": str(work / lake), "MEDAL_EMBED__BATCH_SIZE": str(order.batch)}
    command = [sys.executable, "-m", "jobs"]
    teacher = ["--teacher", str(order.teacher.resolve())]
    run_process([*command, "plan", "--catalog", str(catalog), *teacher, "--run-date", _DATE], env, "jobs plan")
    run_id = f"{_DATE}-all-g1"
    used = run_process([*command, "embed", "--run-id", run_id], env, "jobs embed")
    result = json.loads((work / lake / "runs" / run_id / "manifest.json").read_text())["stages"]["embed"]
    return {"s": result["seconds"], **used.figures(), **result["counts"]}


def forward(order: JobOrder) -> dict[str, Any]:
    """Images a second of the bare network, as timm gives it and as the stage runs it.

    Each with all cores on one batch and with a batch a core; the better one counts.
    """
    from medal_model.backbones import load_backbone
    from medal_model.teacher import load_teacher

    teacher = load_teacher(order.teacher)
    body, spec = teacher.extractor._backbone, teacher.extractor.spec
    plain = body if spec.weights == "trained" else load_backbone(spec)  # those travel with the teacher alone
    return {"timm": _rates(order, teacher, plain), "own": _rates(order, teacher, body)}


def _rates(order: JobOrder, teacher: Teacher, body: Callable[[Tensor], Tensor]) -> dict[str, float]:
    import torch

    size, cores = teacher.input_size, len(os.sched_getaffinity(0))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(order.batch, 3, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
    histogram = torch.rand(order.batch, 512, generator=generator)
    batches = -(-min(order.items, _BARE) // order.batch)

    @torch.inference_mode()
    def run(count: int) -> None:
        for _ in range(count):
            teacher.heads(body(x), histogram)

    def together() -> None:
        torch.set_num_threads(cores)
        run(batches)

    def apart() -> None:
        left, lock = [batches], threading.Lock()

        def one() -> None:
            torch.set_num_threads(1)
            while True:
                with lock:
                    if not left[0]:
                        return
                    left[0] -= 1
                run(1)

        threads = [threading.Thread(target=one) for _ in range(cores)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    out = {}
    before = torch.get_num_threads()
    try:
        for name, way in (("one_batch", together), ("batch_a_core", apart)):
            run(2)
            begun = time.perf_counter()
            way()
            out[name] = round(batches * order.batch / (time.perf_counter() - begun), 2)
    finally:
        torch.set_num_threads(before)
    return {**out, "images_per_s": max(out.values())}
