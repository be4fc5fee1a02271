"""The search as a Spark job: tasks out to the workers, which write; what they wrote and did back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs import errors
from jobs.complements.emit import Figures
from jobs.complements.worker import Shares, Spec, run_share
from jobs.complements.write import DataFile, read_reports
from jobs.errors import MedalError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_POLL_S = 0.25
_SAY_EVERY_S = 10.0


def search_and_write(
    spark: SparkSession, spec: Spec, shares: Shares, log: Callable[[str], None], first_done: Callable[[], None]
) -> tuple[list[DataFile], Figures]:
    """All tasks of a run: the files that hold its rows, and figures. `first_done` is called once a share is done."""
    from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]

    # Not a DataFrame: for a row or two a task, planning and compiling a query would take seconds.
    numbers = spark.sparkContext.parallelize(range(len(shares)), max(1, len(shares)))
    try:
        with progress(spark, shares, log, first_done):
            return read_reports(numbers.map(lambda share: run_share(spec, shares[share])).collect())
    except Py4JJavaError as e:
        raise _told(e) or e from e


def _told(e: Exception) -> MedalError | None:
    """The job's own error that a worker ended with: Spark hands on its trace as text."""
    for name, message in reversed(re.findall(r"^jobs\.errors\.(\w+): (.*)$", str(e), re.MULTILINE)):
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, MedalError):
            return kind(message)
    return None


@contextmanager
def progress(
    spark: SparkSession, shares: Shares, log: Callable[[str], None], first_done: Callable[[], None]
) -> Iterator[None]:
    """While a Spark job runs: a line on how far it is every ten seconds, and a call once a first share is done."""
    from py4j.protocol import Py4JError

    tracker = spark.sparkContext.statusTracker()
    stop = threading.Event()
    tasks = sum(len(s) for s in shares)

    def watch() -> None:
        done, said, waited, called = 0, 0, 0.0, False
        while not stop.wait(_POLL_S):
            try:
                stages = [s for i in tracker.getActiveStageIds() if (s := tracker.getStageInfo(i)) is not None]
            except (Py4JError, OSError):  # the JVM has ended, which the thread that waits for the job tells
                return
            done = max([done, *(s.numCompletedTasks for s in stages)])
            if done and not called:
                called = True
                first_done()
            waited += _POLL_S
            if waited >= _SAY_EVERY_S and done != said:
                share = done / len(shares)
                log(f"complements: {done} of {len(shares)} Spark tasks done, about {share:.0%} of {tasks} searches")
                said, waited = done, 0.0

    thread = threading.Thread(target=watch, name="medal-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
