"""The search as a Spark job: tasks out to the workers, which write; what they wrote and did back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs import errors
from jobs.complements.emit import Figures
from jobs.complements.worker import Shares, Spec, work
from jobs.complements.write import REPORT, DataFile, read_report
from jobs.errors import MedalError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_POLL_S = 0.25
_SAY_EVERY_S = 10.0


def search_and_write(
    spark: SparkSession, spec: Spec, shares: Shares, log: Callable[[str], None], first_done: Callable[[], None]
) -> tuple[list[DataFile], Figures]:
    """All tasks of a run: the files that hold its rows, and figures. `first_done` is called once a share is done."""
    from pyspark.errors import PythonException
    from pyspark.sql.pandas.types import from_arrow_schema

    numbers = spark.range(0, len(shares), 1, max(1, len(shares)))
    reports = numbers.mapInArrow(lambda batches: work(spec, shares, iter(batches)), from_arrow_schema(REPORT))
    try:
        with progress(spark, shares, log, first_done):
            return read_report((row["file"], row["figures"]) for row in reports.collect())
    except PythonException as e:
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
    tracker = spark.sparkContext.statusTracker()
    stop = threading.Event()
    tasks = sum(len(s) for s in shares)

    def watch() -> None:
        done, said, waited, called = 0, 0, 0.0, False
        while not stop.wait(_POLL_S):
            stages = [s for i in tracker.getActiveStageIds() if (s := tracker.getStageInfo(i)) is not None]
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
