"""Memory of a worker of the lists job whose source category alone is very large; its rows go nowhere.

The galleries are staged as the driver does it, then a process of its own does all tasks, as a Spark worker would, and
says what it took (`python -m jobs.bench.lists_memory ORDER.json`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.bench.lists_peer import peak_rss_mib
from jobs.complements import gallery
from jobs.complements.emit import Figures
from jobs.complements.finish import Limits
from jobs.complements.gallery import Gallery
from jobs.complements.hashing import id_words
from jobs.complements.tasks import Task, allowed, plan_tasks
from jobs.complements.worker import Spec, run_task
from jobs.errors import DataError
from jobs.lake import Lake
from jobs.sample.vector_lake import teacher_of
from jobs.sample.vectors import DEPARTMENTS, Slice, VectorShop
from jobs.settings import ListSettings
from schemas.taxonomy import Taxonomy, load_taxonomy

SOURCE, TARGET = "tops", "shoes"
RUN = "2026-01-01-all-g1"


@dataclass(frozen=True)
class Order:
    """Products of the two categories, and how their lists are made."""

    lake: str
    pages: int
    targets: int
    teacher: str
    k: int
    depth: int
    query_block: int
    base_block: int


def measure(order: Order, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds and the peak memory of the worker."""
    taxonomy, lake = load_taxonomy(), Lake(order.lake)
    shutil.rmtree(order.lake, ignore_errors=True)
    _, rho = teacher_of(Path(order.teacher))
    say(f"drawing {order.pages + order.targets:,} products")
    drawn = list(VectorShop(order.pages + order.targets, seed, rho).slices())
    whole = Slice(*(np.concatenate([getattr(d, n) for d in drawn]) for n in Slice.__dataclass_fields__))
    parts = {SOURCE: slice(0, order.pages), TARGET: slice(order.pages, None)}
    none = slice(0, 0)
    gallery.stage(lake, RUN, {c: _gallery(whole, parts.get(c, none), taxonomy) for c in taxonomy.categories})
    del drawn, whole
    file = Path(order.lake) / "order.json"
    file.write_text(json.dumps(asdict(order)), encoding="utf-8")
    say(f"{order.pages:,} pages × {order.targets:,} targets")
    done = subprocess.run(
        [sys.executable, "-m", "jobs.bench.lists_memory", str(file)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DataError(f"the worker ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    shutil.rmtree(order.lake)
    got: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return got


def work(order: Order) -> dict[str, Any]:
    """All tasks of the source category, one after the other, as one Spark worker does them."""
    taxonomy, lake = load_taxonomy(), Lake(order.lake)
    header, _ = teacher_of(Path(order.teacher))
    settings = ListSettings()
    spec = Spec(
        order.lake, None, RUN, "bench", header.model_version, taxonomy, allowed(taxonomy),
        {(SOURCE, TARGET): header.weights(SOURCE, TARGET)}, order.depth,
        Limits(order.k, settings.per_brand, settings.per_look, settings.look), order.base_block,
    )  # fmt: skip
    all_ = {c: gallery.open_gallery(lake, RUN, n) for n, c in enumerate(taxonomy.categories)}
    tasks = [t for t in plan_tasks(all_, taxonomy, (SOURCE,), order.query_block, order.base_block) if _ours(t)]
    del all_
    figures, rows, size, t0 = Figures(), 0, 0, time.perf_counter()
    for task in tasks:
        for made in run_task(spec, task, figures):
            rows += len(made.batch)
            size += made.batch.nbytes
    return {
        "pages": order.pages, "targets": order.targets, "k": order.k, "depth": order.depth, "pairs": figures.pairs,
        "tasks": len(tasks), "rows": rows, "row_mib": round(size / 2**20), "s": round(time.perf_counter() - t0, 1),
        "peak_rss_mib": round(peak_rss_mib()),
    }  # fmt: skip


def _ours(task: Task) -> bool:
    return task.target == TARGET


def _gallery(whole: Slice, part: slice, taxonomy: Taxonomy) -> Gallery:
    number = whole.number[part]
    ids = pa.array([f"v{n:09d}" for n in number.tolist()], pa.string())
    n = len(number)
    every, none = np.ones(n, np.bool_), np.zeros(n, np.bool_)
    places = np.array([list(taxonomy.departments).index(d) for d in DEPARTMENTS], dtype=np.int16)
    return Gallery(
        ids, whole.vector[part], every, np.zeros(n, np.int8), places[whole.department[part]],
        whole.group[part].astype(np.int64), whole.availability[part] != 1, whole.brand[part].astype(np.int32),
        whole.price[part], id_words(ids.to_pylist()), new=none, fresh=every, arrived=none,
    )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(work(Order(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))))
