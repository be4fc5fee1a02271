"""The search as a Spark job: tasks out to the workers, rows of both tables back, their digests and figures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.complements.emit import FIGURES, SCHEMA, Figures
from jobs.complements.worker import Shares, Spec, work
from jobs.lake import NO_TABLE, Lake
from schemas.tables import CANDIDATES, COMPLEMENTS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_POLL_S = 0.25
_SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class Digest:
    """Content of a slice whatever the order of its rows: their number and two sums of 64-bit row hashes."""

    rows: int
    total: int
    mixed: int


def rows_of(spark: SparkSession, spec: Spec, shares: Shares) -> DataFrame:
    """All rows of a run, computed where they are first needed and kept for the second writing."""
    from pyspark import StorageLevel
    from pyspark.sql.pandas.types import from_arrow_schema

    shares_no = spark.range(0, len(shares), 1, max(1, len(shares)))
    rows = shares_no.mapInArrow(lambda batches: work(spec, shares, iter(batches)), from_arrow_schema(SCHEMA))
    return rows.persist(StorageLevel.MEMORY_AND_DISK)


def candidates_of(rows: DataFrame) -> DataFrame:
    """Pages that nothing asks for have no neighbours, so no row."""
    return rows.where("candidates_changed").select(*CANDIDATES.schema.names)


def complements_of(rows: DataFrame) -> DataFrame:
    return rows.where("complements_changed").select(*COMPLEMENTS.schema.names)


def measure(rows: DataFrame) -> tuple[Figures, Digest, Digest]:
    """Figures and the digests of `candidates` and `complements`, in one pass; the pass that computes the rows."""
    from pyspark.sql import functions as F

    got = rows.agg(
        *(F.sum(name).alias(name) for name in FIGURES),
        *_digest_columns("candidates", CANDIDATES.schema.names, F.col("candidates_changed")),
        *_digest_columns("complements", COMPLEMENTS.schema.names, F.col("complements_changed")),
    ).collect()[0]
    figures = Figures(**{name: got[name] or 0 for name in FIGURES})
    return figures, _digest(got, "candidates"), _digest(got, "complements")


def slice_digest(
    spark: SparkSession, lake: Lake, table: str, version: int, where: str, written: int | None = None
) -> Digest | None:
    """Digest of a slice of a table at a version, or of the rows of one generation in it; None where there is none."""
    from pyspark.sql import functions as F

    if version == NO_TABLE:
        return None
    names = (CANDIDATES if table == "candidates" else COMPLEMENTS).schema.names
    rows = spark.read.format("delta").option("versionAsOf", str(version)).load(lake.spark_uri(table)).where(where)
    if "written" not in rows.columns:
        return None
    if written is not None:
        rows = rows.where(F.col("written") == written)
    return _digest(rows.agg(*_digest_columns(table, names, F.lit(True))).collect()[0], table)


def slice_condition(model_version: str, categories: Sequence[str]) -> str:
    """The rows a run owns in a table, on its partition columns, as SQL."""

    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    return f"model_version = {quoted(model_version)} AND source_category IN ({', '.join(map(quoted, categories))})"


def _digest_columns(table: str, names: Sequence[str], counted: Column) -> list[Column]:
    from pyspark.sql import functions as F

    # Spark's hash passes over nulls; the nullable columns get a value for them.
    nullable = ("empty_reason", "level")
    columns = [F.coalesce(F.col(n), F.lit("")) if n in nullable else F.col(n) for n in names]
    one, other = F.xxhash64(*columns), F.xxhash64(F.lit(1), *columns)
    return [
        F.sum(counted.cast("long")).alias(f"{table}_rows"),
        F.sum(F.when(counted, one.cast("decimal(38,0)"))).alias(f"{table}_total"),
        F.bit_xor(F.when(counted, other)).alias(f"{table}_mixed"),
    ]


def _digest(got: object, table: str) -> Digest:
    return Digest(*(int(got[f"{table}_{part}"] or 0) for part in ("rows", "total", "mixed")))  # type: ignore[index]


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
            # The stages after the search have as many tasks and start from 0 again.
            done = max([done, *(s.numCompletedTasks for s in stages if s.numTasks == len(shares))])
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
