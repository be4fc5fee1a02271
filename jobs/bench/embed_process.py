"""A process of `medal bench embed`: its time on the clock, of the processor, and its peak memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass

from jobs.errors import DataError

_EVERY_S = 0.05


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
        begun, peak = time.perf_counter(), 0.0
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=said)
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            peak = _peak_mib(process.pid) or peak
            time.sleep(_EVERY_S)
        took = time.perf_counter() - begun
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
            raise DataError(f"{name} ended with {process.returncode}: {last[0]}")
    return Used(took, used.ru_utime + used.ru_stime, peak)


def _peak_mib(pid: int) -> float:
    """What the process held at most so far; 0 where Linux does not tell. Not `ru_maxrss`: a child's begins at its
    parent's."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return next((int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM:")), 0.0)
    except OSError:
        return 0.0
