"""A process of `medal bench embed`: its time on the clock, of the processor, and its peak memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from jobs.errors import DataError


@dataclass(frozen=True)
class Used:
    """From start to end of a process, the processes that it waited for included in processor time."""

    s: float
    cpu_s: float
    peak_rss_mib: float

    def figures(self) -> dict[str, float]:
        return {
            "process_s": round(self.s, 3),
            "cpu_s": round(self.cpu_s, 3),
            "peak_rss_mib": round(self.peak_rss_mib, 1),
        }


def run_process(command: list[str], env: dict[str, str], name: str) -> Used:
    """Raises DataError with its last words where it fails; `name` says which it was."""
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
            raise DataError(f"{name} ended with {process.returncode}: {last[0]}")
    return Used(took, used.ru_utime + used.ru_stime, _mib(used))


def _mib(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
