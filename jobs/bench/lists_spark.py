"""Spark's own way to all nearest neighbours: ALSModel.recommendForAllUsers, i.e. a cross join of blocks of both sides,
dot products by BLAS, the best of each block, and an aggregation to the best of all.

Factors of users are the masked queries of pages, factors of items the products, a call a target category. Six more
dimensions lift products of a department that the page may show above all others: a call a department as well would
compare half as many pairs but be six times as many calls, which costs more below some 50,000 products.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.bench.lists_peer import World

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.settings import Settings


def plain_session(settings: Settings) -> SparkSession:
    """A session as it comes: the job's own has a JVM for short nights (jobs.spark), which would slow this down."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(settings.spark.master).appName("medal bench lists: cross join")
    conf = {
        "spark.driver.memory": settings.spark.driver_memory, "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "4",  # 200 make hundreds of empty tasks a call
    }  # fmt: skip
    for key, value in conf.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


_SHOWN = 16.0  # more than any product of masked unit vectors differs from another


def cross_join(spark: SparkSession, folder: Path) -> dict[str, Any]:
    """Seconds (the session's start and the writing of its input apart) and recall@depth on the sample."""
    world = World(str(folder))
    pieces = []
    for target in np.flatnonzero(world.targets.any(axis=0)).tolist():
        name = folder / f"als-{target}"
        pages, rows = (np.flatnonzero(w) for w in (world.targets[world.category, target], world.category == target))
        own, shown = world.allowed[world.department[pages]], np.eye(len(world.allowed))[world.department[rows]]
        _factors(name / "users.parquet", pages, np.hstack([world.queries(pages, target), _SHOWN * own]))
        _factors(name / "items.parquet", rows, np.hstack([world.vectors[rows], shown]))
        pieces.append((name, target))
    rank = world.vectors.shape[1] + len(world.allowed)
    t0 = time.perf_counter()
    for name, target in pieces:
        users, items = (spark.read.parquet(str(name / f"{side}.parquet")) for side in ("users", "items"))
        lists = _model(spark, users, items, rank).recommendForAllUsers(world.depth)
        lists.write.parquet(str(folder / "als-lists" / f"target={target}"))
    seconds = time.perf_counter() - t0
    return {"s": round(seconds, 3), "recall": round(_recall(world, folder / "als-lists"), 5),
            "about": "ALSModel.recommendForAllUsers, a call a target category"}  # fmt: skip


def _model(spark: SparkSession, users: DataFrame, items: DataFrame, rank: int) -> Any:
    from pyspark.ml.recommendation import ALSModel

    # The constructor is the package's own in Scala; there is no other way to factors that no ALS has fitted.
    jvm: Any = spark.sparkContext._jvm
    made = jvm.org.apache.spark.ml.recommendation.ALSModel("als_medal", rank, users._jdf, items._jdf)
    return ALSModel(made.setUserCol("page").setItemCol("item").setBlockSize(4096))


def _factors(path: Path, ids: Any, vectors: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * vectors.shape[1])
    features = pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1)))
    pq.write_table(pa.table({"id": pa.array(ids.astype(np.int32)), "features": features}), path)


def _recall(world: World, lists: Path) -> float:
    hit = total = 0
    for page, target, exact in zip(world.page.tolist(), world.target.tolist(), world.exact, strict=True):
        rows = pq.read_table(lists, filters=[("page", "=", page), ("target", "=", target)])
        found = {r["item"] for row in rows["recommendations"].to_pylist() for r in row}
        mine = set(exact[exact >= 0].tolist())
        hit, total = hit + len(found & mine), total + len(mine)
    return hit / total if total else 1.0
