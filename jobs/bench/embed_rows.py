"""`rows_per_s_written`: vectors to rows of `embeddings`, committed slice by slice, beside plain Parquet files.

Ours is what the stage does with a vector that the network gave: a row, the slice's table, its commit to a Delta table
that grows. The baseline writes the finished tables by pyarrow, a file a slice, by its defaults: no transaction.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from jobs.embed.draw import Todo
from jobs.embed.rows import row_of, table_of
from jobs.lake import Lake
from jobs.runs import RunId
from schemas.tables import EMBEDDING_DIM

_RUN = "2026-01-01-all-g1"
_MODEL = "bench"
_SHOWN = 10  # commits at each end whose median is shown


@dataclass(frozen=True)
class RowsOrder:
    """`rows` vectors of a seeded generator, `slice_size` a commit."""

    rows: int = 100_000
    slice_size: int = 1024
    seed: int = 7
    work: Path | None = None


def measure(order: RowsOrder, say: Callable[[str], None]) -> dict[str, Any]:
    """Plain JSON values; seconds on the clock but for `cpu_s`, of the processor, all threads."""
    rng = np.random.default_rng(order.seed)
    steps = dict.fromkeys(("row", "table", "append", "plain"), 0.0)
    cpu = {"ours": 0.0, "plain": 0.0}
    commits = []
    with tempfile.TemporaryDirectory(prefix="medal-bench-rows-", dir=order.work) as folder:
        lake, run = Lake(f"{folder}/lake"), RunId.parse(_RUN)
        for part, begin in enumerate(range(0, order.rows, order.slice_size), 1):
            count = min(order.slice_size, order.rows - begin)
            vectors = rng.standard_normal((count, EMBEDDING_DIM), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            todos = [_product(begin + n) for n in range(count)]
            worked, clock = [time.process_time()], [time.perf_counter()]
            rows = [
                row_of(t, f"{t.source_fingerprint:0>64}", v.tolist(), _MODEL, _RUN)
                for t, v in zip(todos, vectors, strict=True)
            ]
            clock.append(time.perf_counter())
            table = table_of(rows)
            clock.append(time.perf_counter())
            lake.append("embeddings", table, run, part=part, model_version=_MODEL)
            clock.append(time.perf_counter())
            worked.append(time.process_time())
            pq.write_table(table, f"{folder}/{part}.parquet")  # in turns: what else the machine does meets both
            clock.append(time.perf_counter())
            worked.append(time.process_time())
            for name, s in zip(steps, np.diff(clock), strict=True):
                steps[name] += float(s)
            for name, s in zip(cpu, np.diff(worked), strict=True):
                cpu[name] += float(s)
            commits.append(clock[3] - clock[2])
        version = lake.version("embeddings")
        stored = lake.rows("embeddings", version, {"model_version": [_MODEL]})
    if stored != order.rows:
        raise ValueError(f"the table holds {stored:,} rows after {order.rows:,} were written")
    ours = steps["row"] + steps["table"] + steps["append"]
    result = {
        "rows_per_s_written": round(order.rows / ours, 1),
        "write_ratio_to_parquet": round(ours / steps["plain"], 3),
        "write_cpu_ratio_to_parquet": round(cpu["ours"] / cpu["plain"], 3),
        "written": {
            "rows": order.rows,
            "commits": len(commits),
            **{f"{name}_s": round(s, 4) for name, s in steps.items()},
            "cpu_s": round(cpu["ours"], 3),
            "plain_cpu_s": round(cpu["plain"], 3),
            "first_commits_ms": round(median(commits[:_SHOWN]) * 1000, 2),
            "last_commits_ms": round(median(commits[-_SHOWN:]) * 1000, 2),
        },
    }
    say(
        f"rows: {order.rows:,} in {ours:.1f} s, {result['rows_per_s_written']:,.0f} rows/s; "
        f"plain Parquet {steps['plain']:.1f} s"
    )
    return result


def _product(number: int) -> Todo:
    return Todo(f"p{number:09d}", f"images/{number:09d}.jpg", f"{number:032x}")
