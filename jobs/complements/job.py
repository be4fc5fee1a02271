"""The stage `complements`: tonight's vectors → `candidates` and `complements`.

Skipped before Spark starts where a run of the same date and scope has made lists from the same inputs and
they are current.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.complements import gallery
from jobs.complements.gallery import Gallery
from jobs.complements.score import Float32, check_weights
from jobs.complements.tasks import Task, allowed, deal, partitions_for, plan_tasks
from jobs.errors import ConservationError, DataError
from jobs.lake import NO_TABLE
from jobs.runs import Manifest, StageResult
from jobs.stage import StageContext
from schemas.taxonomy import Taxonomy

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.complements.spark_search import Digest, Figures
    from jobs.complements.worker import Spec

Weights = Callable[[str, str], Float32]
TABLES = ("candidates", "complements")


def run(ctx: StageContext) -> StageResult:
    """Make the lists of the run's categories. Raises DataError for vectors or masks that break their contract."""
    from jobs.embed.active import active_products
    from medal_model.export import TeacherError, read_header

    products = active_products(ctx)
    try:
        header = read_header(Path(ctx.manifest.plan.teacher_dir))
    except TeacherError as e:
        raise DataError(str(e)) from e
    if header.model_version != ctx.manifest.plan.inputs.model_version:
        raise DataError(
            f"{ctx.manifest.plan.teacher_dir}: holds {header.model_version} now, the run was planned with "
            f"{ctx.manifest.plan.inputs.model_version}; plan the date again"
        )
    return make_lists(ctx, products, header.weights)


def make_lists(ctx: StageContext, products: pa.Table, weights: Weights) -> StageResult:
    """As `run`, from active products and masks: weights(source, target) → float32 [128]."""
    plan = ctx.manifest.plan
    masks = _masks(ctx.taxonomy, plan.categories, weights)
    all_ = gallery.galleries(products, ctx.taxonomy)
    key = stage_key(ctx, all_, masks)
    reads = {t: ctx.manifest.version(t) for t in ("catalog", "embeddings") if ctx.manifest.version(t) != NO_TABLE}
    if (earlier := _earlier(ctx, key)) is not None:
        # What it found is what this run has; how long it took is not.
        counts = {n: v for n, v in earlier.stages["complements"].counts.items() if not n.endswith("_s")}
        writes = {t: ctx.manifest.version(t) for t in TABLES}
        note = f"same inputs as {earlier.plan.run_id}"
        return StageResult("complements", "skipped", reads, writes, counts, note=note, key=key)
    lists = ctx.settings.lists
    tasks = plan_tasks(all_, ctx.taxonomy, plan.categories, lists.query_block, lists.base_block)
    gallery.stage(ctx.lake, plan.run_id, all_)
    try:
        writes, counts = _with_spark(ctx, key, tasks, masks)
    finally:
        gallery.drop(ctx.lake, plan.run_id)
    counts["products"] = sum(len(all_[c]) for c in plan.categories)
    planned = sum(len(all_[c]) * len(ctx.taxonomy.targets[c]) for c in plan.categories)
    if not planned == counts["planned"] == counts["filled"] + counts["empty_no_vector"] + counts["empty_no_target"]:
        raise ConservationError(f"complements of {plan.run_id}: {planned} lists were due, got {counts}")
    ctx.fault("complements.before_manifest")
    return StageResult("complements", "done", reads, writes, counts, key=key)


def stage_key(ctx: StageContext, all_: Mapping[str, Gallery], masks: Mapping[tuple[str, str], Float32]) -> str:
    """sha256 over everything that decides the lists: equal key, equal content."""
    plan, lists = ctx.manifest.plan, ctx.settings.lists
    h = hashlib.sha256()
    about = [plan.inputs.model_version, ctx.taxonomy.fingerprint, lists.k, lists.depth, list(plan.categories)]
    h.update(json.dumps(about).encode())
    for pair in sorted(masks):
        h.update(repr(pair).encode() + masks[pair].tobytes())
    for category, g in all_.items():
        h.update(json.dumps([category, g.ids.to_pylist()]).encode())
        # Group codes stand in order of first appearance by item_id, so equal groups give equal codes.
        for a in (g.vectors, g.has_vector, g.department, g.group, g.in_stock):
            h.update(a.tobytes())
    return h.hexdigest()


def _masks(taxonomy: Taxonomy, categories: tuple[str, ...], weights: Weights) -> dict[tuple[str, str], Float32]:
    out = {}
    for source in categories:
        for target in taxonomy.targets[source]:
            try:
                w = weights(source, target)
                check_weights(w, f"teacher, {source} with {target}")
            except (KeyError, ValueError) as e:
                raise DataError(f"{e}; export the teacher again, or take the pair out of the taxonomy") from e
            out[source, target] = w
    return out


def _earlier(ctx: StageContext, key: str) -> Manifest | None:
    """The newest run of this date and scope that made the same lists, where the tables still hold exactly those.

    Of this date: a run of another one, a backfill say, never makes a night skip its search.
    """
    plan = ctx.manifest.plan
    if plan.recompute or any(ctx.manifest.version(t) == NO_TABLE for t in TABLES):
        return None
    for other in reversed(ctx.lake.runs()):
        if (other.run_date, other.scope) != (plan.run_date, plan.scope) or str(other) == plan.run_id:
            continue
        manifest = ctx.lake.manifest(str(other))
        result = manifest.stages.get("complements")
        if result is None or result.key != key:
            continue
        if all(_files(ctx, t, result.writes[t]) == _files(ctx, t, ctx.manifest.version(t)) for t in TABLES):
            return manifest
    return None


def _files(ctx: StageContext, table: str, version: int) -> set[str]:
    """The data files of this run's slice at a version: the same files hold the same rows."""
    plan = ctx.manifest.plan
    slice_ = [("model_version", "=", plan.inputs.model_version), ("source_category", "in", list(plan.categories))]
    return set(ctx.lake.open(table, version).file_uris(file_pruning_predicate=slice_))


def _with_spark(
    ctx: StageContext, key: str, tasks: list[Task], masks: dict[tuple[str, str], Float32]
) -> tuple[dict[str, int], dict[str, float]]:
    from pyspark.sql import SparkSession

    from jobs.complements.worker import Spec
    from jobs.spark import session, stop

    plan, lists = ctx.manifest.plan, ctx.settings.lists
    spec = Spec(
        ctx.lake.root, ctx.lake.s3_endpoint_url, plan.run_id, key, plan.inputs.model_version,
        ctx.taxonomy.categories, allowed(ctx.taxonomy), masks, lists.depth, lists.k, lists.base_block,
    )  # fmt: skip
    ours = SparkSession.getActiveSession() is None
    t0 = time.monotonic()
    spark = session(ctx.settings, f"medal complements {plan.run_id}")
    started = time.monotonic() - t0
    try:
        writes, counts = _search_and_write(ctx, spark, spec, tasks)
    finally:
        if ours:
            stop(spark)
    return writes, {**counts, "session_s": round(started, 3)}


def _search_and_write(
    ctx: StageContext, spark: SparkSession, spec: Spec, tasks: list[Task]
) -> tuple[dict[str, int], dict[str, float]]:
    from jobs.complements.spark_search import candidates_of, complements_of, measure, progress, rows_of

    partitions = ctx.settings.spark.partitions or partitions_for(tasks, spark.sparkContext.defaultParallelism)
    shares = deal(tasks, partitions)
    pairs = sum(t.pairs for t in tasks)
    ctx.log(f"complements: {len(tasks)} search tasks, {len(shares)} Spark tasks, {pairs:,} pairs")
    rows = rows_of(spark, spec, shares)
    t0 = time.monotonic()
    with progress(spark, shares, ctx.log, lambda: ctx.fault("complements.searching")):
        figures, candidates, complements = measure(rows)
    ctx.fault("complements.searching")
    t1 = time.monotonic()
    writes = {"candidates": _write(ctx, spark, "candidates", candidates_of(rows), candidates)}
    ctx.fault("complements.candidates_committed")
    writes["complements"] = _write(ctx, spark, "complements", complements_of(rows), complements)
    t2 = time.monotonic()
    rows.unpersist()
    return writes, _counts(figures, pairs, t1 - t0, t2 - t1)


def _counts(f: Figures, pairs: int, wall_s: float, write_s: float) -> dict[str, float]:
    """Figures of the manifest. search/rescore/finish are seconds of the workers added up; the rest wall clock."""
    raw = asdict(f)
    named = {"no_vector": "empty_no_vector", "no_target": "empty_no_target"}
    out: dict[str, float] = {named.get(n, n): round(v, 3) if n.endswith("_s") else v for n, v in raw.items()}
    out["coverage"] = round(f.entries / f.feasible, 6) if f.feasible else 1.0
    return out | {"pairs": pairs, "lists_s": round(wall_s, 3), "write_s": round(write_s, 3)}


def _write(ctx: StageContext, spark: SparkSession, table: str, rows: DataFrame, content: Digest) -> int:
    """The version of a table that holds this run's slice: the one this run starts from where that has it already.

    A run killed after its commit finds it by run id; that the commit holds what was computed again is checked.
    """
    from jobs.complements.spark_search import slice_condition, slice_digest
    from jobs.spark import replace_slice

    plan = ctx.manifest.plan
    where = slice_condition(plan.inputs.model_version, plan.categories)
    ctx.lease.check()
    found = ctx.lake.committed(table, plan.run_id)
    if found is not None:
        if slice_digest(spark, ctx.lake, table, found, where) != content:
            raise ConservationError(
                f"table {table}: version {found}, committed by {plan.run_id} before it was interrupted, differs "
                "from what the same inputs give now; plan the date again with --recompute"
            )
        ctx.log(f"complements: {table} is there already, version {found}")
        return found
    before = ctx.manifest.version(table)
    if slice_digest(spark, ctx.lake, table, before, where) == content:
        ctx.log(f"complements: {table} unchanged, version {before} stays")
        return before
    ctx.lease.check()
    version = replace_slice(ctx.lake, table, rows, ctx.run, model_version=plan.inputs.model_version, where=where)
    ctx.log(f"complements: {table} version {version}, {content.rows:,} rows")
    return version
