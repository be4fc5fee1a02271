"""What the embed stage tells glibc's malloc, seen from outside: page faults, and memory that comes back."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told")

_FAULTS = """
import resource, sys, threading
from jobs.embed.allocator import keep_memory
assert sys.argv[1] == "plain" or keep_memory()
import torch

def work():
    for _ in range(20):
        torch.ones(24 << 18)  # 24 MiB

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(min([faults() for _ in range(6)]))  # the heap grows in the first rounds
"""
_GIVEN_BACK = """
from jobs.embed.allocator import give_back, keep_memory
assert keep_memory()
import torch

def held():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS:"))

[torch.ones(4 << 18) for _ in range(100)]  # 400 MiB, freed
before = held()
give_back()
print(before - held())
"""


def _number(code: str, *arguments: str) -> int:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_large_blocks_are_not_faulted_in_again() -> None:
    plain, kept = _number(_FAULTS, "plain"), _number(_FAULTS, "kept")
    assert kept < 1_000 and (plain > 20 * kept or plain < 1_000), (plain, kept)  # huge pages leave few to either


def test_kept_memory_is_given_back_at_the_end() -> None:
    assert _number(_GIVEN_BACK) > 300
