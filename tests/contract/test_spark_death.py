"""Spark's JVM ends in the middle of the search: told in one line, worth a retry, and the retry works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lists_world import ROOT
from require import require

pytestmark = pytest.mark.spark

# In a process of its own, since the other tests share one JVM. A share lasts long enough for the JVM to be killed, once
# a first one is done, while others are at work.
NIGHT = """
import os, signal, sys, time
from pathlib import Path
from lists_world import context, draw_products, draw_weights, tables_of
from jobs.complements import spark_search
from jobs.complements.job import make_lists
from jobs.complements.worker import run_share
from jobs.errors import TransientError
from jobs.stage import StageContext
from pyspark import SparkContext

def slow(spec, tasks):
    time.sleep(1)
    return run_share(spec, tasks)

def kill():
    os.kill(SparkContext._gateway.proc.pid, signal.SIGKILL)
    SparkContext._gateway.proc.wait()

def fault(self, name):
    if when == "in the midst" and name == "complements.searching":
        kill()

def log(self, message):
    if when == "before the search" and "Spark tasks" in message:
        kill()

root, when = Path(sys.argv[1]), sys.argv[2]
ctx, products, weights = context(root, partitions=8), draw_products(300, 8), draw_weights()
kept = StageContext.fault, StageContext.log
StageContext.fault, StageContext.log, spark_search.run_share = fault, log, slow
try:
    make_lists(ctx, products, weights)
    sys.exit("the night ended well; was the JVM killed too late?")
except TransientError as e:
    print("told:", e)
(StageContext.fault, StageContext.log), spark_search.run_share = kept, run_share
found, lists = tables_of(ctx, make_lists(ctx, products, weights).writes)
print("again:", found.num_rows > 0, lists.num_rows > 0, flush=True)
os._exit(0)  # a library's thread outlives the interpreter now and then once a JVM was killed under it, and aborts
"""


@pytest.mark.parametrize("when", ["before the search", "in the midst"])
def test_the_end_of_the_jvm_is_a_passing_fault(when: str, tmp_path: Path) -> None:
    require("java")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", NIGHT, str(tmp_path), when]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    told, again = [line for line in done.stdout.splitlines() if line.startswith(("told", "again"))]
    assert "Spark's JVM ended" in told
    assert "spark.driver_memory" in told
    assert again == "again: True True"
    assert "medal-progress" not in done.stderr, "our own thread does not add its trace"
