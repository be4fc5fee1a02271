"""The products of a run with their vectors: what lists, gate and report start from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.embed.states import load_states
from jobs.errors import DataError
from jobs.plan import snapshot_rows
from jobs.stage import StageContext


def active_products(ctx: StageContext) -> pa.Table:
    """All `catalog` columns of the run's eligible products plus `state` and `vector`, ordered by item_id.

    `vector` is list<float32>, null where the product has none. Raises DataError where embed has not run.
    """
    plan = ctx.manifest.plan
    rows = snapshot_rows(ctx.lake, ctx.manifest)
    states = load_states(ctx.lake, plan.run_id)
    if states is None or not ctx.manifest.done("embed"):
        raise DataError(f"{plan.run_id}: no vectors yet; run `medal embed --run-id {plan.run_id}` first")
    states = states.sort_by("item_id")
    if states["item_id"] != rows["item_id"]:
        raise DataError(f"{plan.run_id}: states.parquet does not match the snapshot; plan the date again")
    vectors = ctx.lake.read(
        "embeddings",
        ctx.manifest.version("embeddings"),
        columns=["item_id", "image_fingerprint", "vector"],
        filters=[("model_version", "=", plan.inputs.model_version)],
    ).combine_chunks()
    # A fingerprint has no tab, so two keys are equal only where both their parts are.
    there, wanted = (pc.binary_join_element_wise(t["image_fingerprint"], t["item_id"], "\t") for t in (vectors, states))
    index = pc.index_in(wanted, value_set=there.combine_chunks())
    lost = pc.sum(pc.and_(pc.is_null(index), pc.is_valid(states["image_fingerprint"]))).as_py() or 0
    if lost:
        raise DataError(
            f"{plan.run_id}: {lost} vectors named by states.parquet are not in embeddings version "
            f"{ctx.manifest.version('embeddings')}; plan the date again with --recompute"
        )
    return rows.append_column("state", states["state"]).append_column("vector", vectors["vector"].take(index))


def vector_matrix(vectors: pa.ChunkedArray) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Non-null list<float32> vectors as [N, 128] float32, without a Python object for each number."""
    flat = pc.list_flatten(vectors).to_numpy(zero_copy_only=False)
    n = len(vectors)
    return np.ascontiguousarray(flat.reshape(n, -1) if n else flat.reshape(0, 0), dtype=np.float32)
