"""What the lake knows of vectors and failures: the lookups that keep an image from being read twice."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from jobs.embed.states import Failure, previous_states
from jobs.lake import Lake
from jobs.runs import RunId


@dataclass(frozen=True)
class Known:
    """Vectors of one model by item and bytes, and the last states and failures.

    `rows[(item_id, image_fingerprint)]` is the run that wrote the vector; `by_bytes` the items that have these bytes.
    """

    rows: dict[tuple[str, str], str]
    by_bytes: dict[str, list[str]]
    by_source: dict[tuple[str, str], str]  # (item_id, source_fingerprint) -> image_fingerprint
    last_image: dict[str, str]  # item_id -> image_fingerprint of its vector in the previous run
    failures: dict[str, Failure]  # item_id -> its row in quarantine

    def add(self, item_id: str, image_fingerprint: str, source_fingerprint: str, run_id: str) -> None:
        self.rows[item_id, image_fingerprint] = run_id
        self.by_bytes.setdefault(image_fingerprint, []).append(item_id)
        self.by_source[item_id, source_fingerprint] = image_fingerprint


def load_known(lake: Lake, run: RunId, model_version: str, embeddings: int, quarantine: int) -> Known:
    """Read the keys (not the vectors) of `embeddings`, `quarantine` and the previous run's states."""
    of_model = [("model_version", "=", model_version)]
    columns = ["item_id", "image_fingerprint", "source_fingerprint", "run_id"]
    known = Known({}, {}, {}, {}, {})
    for r in lake.read("embeddings", embeddings, columns=columns, filters=of_model).to_pylist():
        known.add(r["item_id"], r["image_fingerprint"], r["source_fingerprint"], r["run_id"])
    for r in previous_states(lake, run, model_version).to_pylist():
        if r["image_fingerprint"] is None:
            continue
        known.last_image[r["item_id"]] = r["image_fingerprint"]
        if r["source_fingerprint"] is not None and r["state"] in ("embedded", "reused", "unchanged"):
            known.by_source.setdefault((r["item_id"], r["source_fingerprint"]), r["image_fingerprint"])
    for r in lake.read("quarantine", quarantine, filters=of_model).to_pylist():
        r.pop("model_version")
        known.failures[r["item_id"]] = Failure(**r)
    return known


def vectors_of(lake: Lake, version: int, model_version: str, wanted: dict[str, str]) -> dict[str, list[float]]:
    """Vectors by image_fingerprint, for the (image_fingerprint -> item_id) asked for."""
    if not wanted:
        return {}
    rows = lake.read(
        "embeddings",
        version,
        columns=["item_id", "image_fingerprint", "vector"],
        filters=[("model_version", "=", model_version)],
    )
    rows = rows.filter(pc.is_in(rows["image_fingerprint"], value_set=pa.array(list(wanted), pa.string())))
    return {r["image_fingerprint"]: r["vector"] for r in rows.to_pylist()}
