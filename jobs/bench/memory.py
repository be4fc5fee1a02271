"""Memory of a process and all it started, while something runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.5


@dataclass
class Peak:
    """Most that was seen, in MiB: of all processes together (pages shared by several counted once), of the largest
    Python process that was started, and of the largest other one."""

    together: float = 0.0
    worker: float = 0.0
    other: float = 0.0

    def see(self, root: int) -> None:
        total = 0.0
        for pid in _tree(root):
            size, python = _size(pid)
            total += size
            if pid != root:
                if python:
                    self.worker = max(self.worker, size)
                else:
                    self.other = max(self.other, size)
        self.together = max(self.together, total)


@contextmanager
def watched() -> Iterator[Peak]:
    """The peak of this process and its descendants, looked at twice a second. Linux only; elsewhere it stays 0."""
    peak, stop = Peak(), threading.Event()

    def watch() -> None:
        while not stop.wait(_EVERY_S):
            peak.see(os.getpid())

    thread = threading.Thread(target=watch, name="medal-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.see(os.getpid())


def _tree(root: int) -> list[int]:
    out, open_ = [], [root]
    while open_:
        pid = open_.pop()
        out.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                open_ += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return out


def _size(pid: int) -> tuple[float, bool]:
    """Proportional set size in MiB, and whether it is a Python process; 0 for one that has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        name = Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return 0.0, False
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024, name.startswith(("python", "pt_"))
    return 0.0, False
