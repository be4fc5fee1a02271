"""`vs_clip_retrieval`: clip-retrieval's inference loop beside `medal embed`: same files, teacher and batch size."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import jobs
from jobs.bench.embed_process import run_process
from jobs.errors import DataError

# Its logger imports wandb, which is to tell nobody anything.
_QUIET = {"WANDB_MODE": "disabled", "WANDB_ERROR_REPORTING": "false"}


def against(
    stages: Sequence[dict[str, Any]], photos: Sequence[Path], teacher: Path, batch: int, python: Path, work: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Ratios of the peer's seconds to ours, above 1 where we are faster; or `skipped` and why.

    `ratio`: whole process to whole process. `cpu_ratio`: the same in processor time. `loop_ratio`: its loop alone, all
    imports done before, to the stage, which has its imports inside. The peer runs once at each setting, on all photos;
    its fastest loop counts. `stages` are what the stage gave on the same photos.
    """
    if why := absent(python):
        return {"skipped": why}
    folder = work / "peer-photos"
    folder.mkdir()
    for p in photos:
        os.link(p, folder / p.name)
    runs = []
    for workers, threads in settings(len(os.sched_getaffinity(0))):
        try:
            runs.append(loop(python, folder, work / f"peer-{workers}-{threads}", teacher, batch, workers, threads))
        except DataError as e:
            return {"skipped": str(e)}
        if runs[-1]["rows"] != len(photos):
            raise DataError(f"clip-retrieval embedded {runs[-1]['rows']} of {len(photos)} photos; nothing to compare")
        say(f"clip-retrieval: {workers} workers, {threads} threads: {runs[-1]['s']:.1f} s")
    best = min(runs, key=lambda r: float(r["s"]))
    return {
        "ratio": _ratio(best, stages, "process_s"),
        "cpu_ratio": _ratio(best, stages, "cpu_s"),
        "loop_ratio": _ratio(best, stages, "s"),
        **best,
        "all": [{k: r[k] for k in ("workers", "threads", "s", "process_s", "cpu_s")} for r in runs],
    }


def absent(python: Path) -> str | None:
    """Why the peer cannot be run by `python`, or None."""
    ask = "import importlib.util as u; raise SystemExit(not u.find_spec('clip_retrieval'))"
    if python.exists() and subprocess.run([str(python), "-c", ask], capture_output=True).returncode == 0:
        return None
    return f"{python} is not there or has no clip-retrieval; `make peers` installs it"


def settings(cores: int) -> list[tuple[int, int]]:
    """(num_prepro_workers, torch's threads) that are tried."""
    return [(w, t) for w in sorted({1, 2, cores}) for t in sorted({1, cores})]


def loop(
    python: Path, photos: Path, out: Path, teacher: Path, batch: int, workers: int, threads: int
) -> dict[str, Any]:
    """One run in a process of its own; figures of the loop and of the process."""
    out.mkdir()
    here = str(Path(jobs.__path__[0]).parent)
    env = {**os.environ, **_QUIET, "PYTHONPATH": here}
    numbers = [str(n) for n in (batch, workers, threads)]
    command = [str(python), "-m", "jobs.bench.embed_peer_loop", str(photos), str(out), str(teacher.resolve()), *numbers]
    used = run_process(command, env, "clip-retrieval")
    return {**json.loads((out / "loop.json").read_text()), **used.figures()}


def _ratio(best: dict[str, Any], stages: Sequence[dict[str, Any]], key: str) -> float:
    return round(float(best[key]) / median(float(s[key]) for s in stages), 3)
