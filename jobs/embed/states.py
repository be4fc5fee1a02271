"""What happens to each eligible product tonight, decided without touching an image where that is possible.

Every product ends in exactly one state (design section 5, conservation):

embedded      a vector was computed in this run
reused        the same bytes had a vector already, under another item
unchanged     this item's image has a vector from before
stale_vector  the new photo cannot be read; the old vector is kept
waiting       a passing fault; tried again from a later date
quarantined   the image is no image; tried again when it changes, or after a growing wait
"""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import ConservationError
from jobs.images.source import PASSING as FETCH_KINDS
from jobs.lake import Lake
from jobs.runs import RunId

State = Literal["embedded", "reused", "unchanged", "stale_vector", "waiting", "quarantined"]
STATES: tuple[State, ...] = ("embedded", "reused", "unchanged", "stale_vector", "waiting", "quarantined")
PASSING = frozenset(kind for kind, passing in FETCH_KINDS.items() if passing)  # a later try may not meet these

STATES_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("image_fingerprint", pa.string()),  # names this product's vector in this run; null without one
        pa.field("source_fingerprint", pa.string()),
    ]
)


@dataclass(frozen=True)
class ProductState:
    item_id: str
    state: State
    image_fingerprint: str | None
    source_fingerprint: str | None


@dataclass(frozen=True)
class Failure:
    """A row of `quarantine`."""

    item_id: str
    image_fingerprint: str
    source_fingerprint: str | None
    error_class: str
    message: str
    attempts: int
    retry_from: str
    run_id: str

    def state(self) -> State:
        return "waiting" if self.error_class in PASSING else "quarantined"


def retry_date(run_date: str, attempts: int, first_wait_days: int) -> str:
    """The wait doubles with every attempt, to 30 days."""
    days = min(30, first_wait_days * 2 ** min(attempts - 1, 10))
    return (date.fromisoformat(run_date) + timedelta(days=days)).isoformat()


def report_shard(lake: Lake, run_id: str, shard: str, failures: list[Failure]) -> None:
    """What failed in a shard, for the stage that ends the run."""
    rows = "".join(json.dumps(asdict(f), ensure_ascii=False) + "\n" for f in failures)
    lake.files.write(f"runs/{run_id}/shards/{shard.replace('/', '-of-')}.jsonl", rows.encode())


def reported(lake: Lake, run_id: str) -> dict[str, Failure]:
    """Failures that the run's shards left, by item."""
    found = {}
    for name in lake.files.list(f"runs/{run_id}/shards/"):
        for line in (lake.files.read(name) or b"").decode().splitlines():
            failure = Failure(**json.loads(line))
            found[failure.item_id] = failure
    return found


def save_states(lake: Lake, run_id: str, states: list[ProductState]) -> None:
    table = pa.Table.from_pylist([s.__dict__ for s in states], schema=STATES_SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    lake.files.write(f"runs/{run_id}/states.parquet", sink.getvalue())


def load_states(lake: Lake, run_id: str) -> pa.Table | None:
    data = lake.files.read(f"runs/{run_id}/states.parquet")
    return None if data is None else pq.read_table(io.BytesIO(data))


def previous_states(lake: Lake, run: RunId, model_version: str) -> pa.Table:
    """States of the newest earlier run (date, then generation) under the same model; empty where none is."""
    for earlier in sorted(lake.runs(), key=lambda r: (r.run_date, r.generation), reverse=True):
        if (earlier.run_date, earlier.generation) >= (run.run_date, run.generation):
            continue
        if lake.manifest(str(earlier)).plan.inputs.model_version == model_version:
            states = load_states(lake, str(earlier))
            if states is not None:
                return states
    return STATES_SCHEMA.empty_table()


def conserve(states: list[ProductState], eligible: int, rows: int, rejected: int) -> dict[str, float]:
    """Counts by state. Raises ConservationError unless every row is accounted for exactly once."""
    by_state = Counter(s.state for s in states)
    items = {s.item_id for s in states}
    if len(items) != len(states) or len(states) != eligible or rejected + eligible != rows:
        raise ConservationError(
            f"{rows} catalogue rows, {rejected} rejected and {eligible} eligible, but {len(states)} states of "
            f"{len(items)} products: rows went missing or doubled; keep the lake as it is and report this"
        )
    return {name: float(by_state.get(name, 0)) for name in STATES}
