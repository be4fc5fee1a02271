"""The stage `complements`: tonight's vectors → `candidates` and `complements`.

Skipped before Spark starts where a run of the same date and scope has made lists from the same inputs and they are
current. Where an earlier night's lists rest on the same model, masks and taxonomy, they are brought up to date
(`update.py`); else, or with --recompute, all are made anew. Either way the same lists come out.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.complements import changes, commit, gallery
from jobs.complements.engine import Choice, choices, night_pairs, priced
from jobs.complements.finish import Limits
from jobs.complements.gallery import Gallery
from jobs.complements.score import Float32, check_weights
from jobs.complements.tasks import Task, Update, allowed, deal, partitions_for, plan_tasks, plan_updates
from jobs.errors import ConservationError, DataError
from jobs.lake import NO_TABLE, Lake
from jobs.rules.attributes import attributes
from jobs.rules.compile import columns_read, rule_key, unplaced
from jobs.runs import Manifest, RunPlan, StageResult
from jobs.settings import ListSettings
from jobs.stage import StageContext
from schemas.rules import EMPTY, Rules
from schemas.taxonomy import Taxonomy

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.complements.emit import Figures
    from jobs.complements.worker import Spec

Weights = Callable[[str, str], Float32]
TABLES = ("candidates", "complements")


def run(ctx: StageContext) -> StageResult:
    """Make the lists of the run's categories. Raises DataError for vectors or masks that break their contract."""
    from jobs.embed.active import active_products
    from jobs.embed.newcomers import exploring
    from jobs.rules.files import rules_of
    from medal_model.export import TeacherError, read_header

    products = exploring(ctx, active_products(ctx))
    try:
        header = read_header(Path(ctx.manifest.plan.teacher_dir))
    except TeacherError as e:
        raise DataError(str(e)) from e
    if header.model_version != ctx.manifest.plan.inputs.model_version:
        raise DataError(
            f"{ctx.manifest.plan.teacher_dir}: holds {header.model_version} now, the run was planned with "
            f"{ctx.manifest.plan.inputs.model_version}; plan the date again"
        )
    return make_lists(ctx, products, header.weights, rules_of(ctx.lake, ctx.manifest.plan.run_id))


@dataclass(frozen=True)
class Night:
    """How tonight's lists are made."""

    mode: str  # full, incremental
    why: str
    whole: bool  # the slice is written as a whole; else only the lists that changed
    written: int  # generation of the rows that are written
    base: Manifest | None = None


def make_lists(ctx: StageContext, products: pa.Table, weights: Weights, rules: Rules = EMPTY) -> StageResult:
    """As `run`, from active products and masks: weights(source, target) → float32 [128]."""
    plan, lists = ctx.manifest.plan, ctx.settings.lists
    masks = masks_of(ctx.taxonomy, plan.categories, weights)
    all_ = gallery.galleries(products, ctx.taxonomy, fallback=lists.fallback)
    keys = {c: stage_key(ctx, all_, masks, products, rules, c) for c in choices(lists)}
    reads = {t: ctx.manifest.version(t) for t in ("catalog", "embeddings") if ctx.manifest.version(t) != NO_TABLE}
    for key in keys.values():
        if (earlier := _earlier(ctx, key)) is None:
            continue
        # What it found is what this run has; how long it took is not.
        counts = {n: v for n, v in earlier.stages["complements"].counts.items() if not n.endswith("_s")}
        writes = {t: ctx.manifest.version(t) for t in TABLES}
        note = f"same inputs as {earlier.plan.run_id}"
        if (pages := changes.load(ctx.lake, earlier.plan.run_id)) is not None:  # none in a lake from before they were
            changes.save(ctx.lake, plan.run_id, pages)
        return StageResult("complements", "skipped", reads, writes, counts, note=note, key=key)
    now = changes.pages_of(
        all_, dict(zip(products["item_id"].to_pylist(), products["group_id"].to_pylist(), strict=True))
    )
    choice, search_key, night, marked = choose(ctx, all_, now, masks)
    key = keys[choice]
    updates: list[Update] = []
    if night.base is not None:
        all_ = marked.galleries
        updates = plan_updates(_slices(ctx, night.base), all_, ctx.taxonomy, plan.categories)
    tasks: list[Task | Update] = [
        *updates,
        *plan_tasks(all_, ctx.taxonomy, plan.categories, lists.query_block, lists.base_block),
    ]
    ctx.log(f"complements: {night.mode}, {night.why}; {choice.name} search, {choice.why}")
    gallery.stage(ctx.lake, plan.run_id, all_)
    if rules:
        gallery.stage_products(ctx.lake, plan.run_id, products)
        for item in unplaced(rules, plan.run_date, attributes(products, ctx.taxonomy), ctx.taxonomy):
            ctx.log(f"complements: rule {item.rule}: item {item.item_id} stands nowhere ({item.reason})")
    try:
        writes, counts = _with_spark(ctx, key, night, choice, tasks, masks, rules)
    finally:
        gallery.drop(ctx.lake, plan.run_id)
    counts["products"] = sum(len(all_[c]) for c in plan.categories)
    counts["fresh"] = sum(int(all_[c].fresh.sum()) for c in plan.categories)
    counts["incremental"] = int(night.mode == "incremental")
    counts["approximate"] = int(choice.kind is not None)
    planned = sum(len(all_[c]) * len(ctx.taxonomy.targets[c]) for c in plan.categories)
    if not planned == counts["planned"] == counts["filled"] + counts["empty_no_vector"] + counts["empty_no_target"]:
        raise ConservationError(f"complements of {plan.run_id}: {planned} lists were due, got {counts}")
    changes.save(ctx.lake, plan.run_id, _stamped(now, search_key, night.written))
    ctx.fault("complements.before_manifest")
    note = f"{night.mode}: {night.why}; {counts['complements_written']:,} of {planned:,} lists written; "
    note += f"{choice.name} search, {choice.why}"
    return StageResult("complements", "done", reads, writes, counts, note=note, key=key)


def limits_of(ctx: StageContext) -> Limits:
    lists = ctx.settings.lists
    return Limits(lists.k, lists.per_brand, lists.per_look, lists.look, lists.explore, lists.explore_seed)


def stage_key(
    ctx: StageContext, all_: Mapping[str, Gallery], masks: Mapping[tuple[str, str], Float32], products: pa.Table,
    rules: Rules, choice: Choice,
) -> str:  # fmt: skip
    """sha256 over everything that decides the lists: equal key, equal content."""
    plan, lists = ctx.manifest.plan, ctx.settings.lists
    h = hashlib.sha256(search_key_of(plan.inputs.model_version, ctx.taxonomy, lists, masks, choice).encode())
    about: list[object] = [list(plan.categories), asdict(limits_of(ctx)), rule_key(rules, plan.run_date)]
    about.append(ctx.taxonomy.slot_order)
    about += [lists.exact_pairs] if choice.kind else []  # more of them might have made exact lists
    h.update(json.dumps(about).encode())
    for category, g in all_.items():
        h.update(json.dumps([category, g.ids.to_pylist()]).encode())
        # Group codes stand in order of first appearance by item_id, so equal groups give equal codes.
        for a in (g.vectors, g.level, g.department, g.group, g.in_stock):
            h.update(a.tobytes())
        if lists.per_brand:
            h.update(g.brand.tobytes())
        if lists.explore:
            h.update(g.new.tobytes())
    read = sorted(columns_read(rules, plan.run_date) & set(products.column_names))
    if read:
        rows = products.select(["item_id", *read]).sort_by("item_id")
        h.update(json.dumps([rows[c].to_pylist() for c in read], default=str).encode())
    return h.hexdigest()


def search_key_of(
    model_version: str, taxonomy: Taxonomy, lists: ListSettings, masks: Mapping[tuple[str, str], Float32],
    choice: Choice,
) -> str:  # fmt: skip
    """What neighbours rest on besides products: another one, and nothing of an earlier night is worth keeping."""
    about = [model_version, taxonomy.fingerprint, lists.depth, lists.fallback, *choice.stamp]
    h = hashlib.sha256(json.dumps(about).encode())
    for pair in sorted(masks):
        h.update(repr(pair).encode() + masks[pair].tobytes())
    return h.hexdigest()


def _stamped(pages: pa.Table, search_key: str, written: int) -> pa.Table:
    return pages.replace_schema_metadata({"search_key": search_key, "written": str(written)})


def choose(
    ctx: StageContext, all_: Mapping[str, Gallery], now: pa.Table, masks: Mapping[tuple[str, str], Float32]
) -> tuple[Choice, str, Night, changes.Changes]:
    """Which search tonight's lists come from, its search key, and the night it makes of tonight: the first that the
    settings allow whose pairs are within `lists.exact_pairs`, else the last."""
    plan, lists = ctx.manifest.plan, ctx.settings.lists
    for choice in (allowed_ := choices(lists)):
        key = search_key_of(plan.inputs.model_version, ctx.taxonomy, lists, masks, choice)
        night, marked = _night(ctx, all_, now, key)
        galleries = all_ if night.base is None else marked.galleries
        if choice is allowed_[-1] or night_pairs(galleries, ctx.taxonomy, plan.categories) <= lists.exact_pairs:
            break
    return choice, key, night, marked


def _night(
    ctx: StageContext, all_: Mapping[str, Gallery], now: pa.Table, search_key: str
) -> tuple[Night, changes.Changes]:
    """Full or incremental, from which earlier night, and written how."""
    plan, lists = ctx.manifest.plan, ctx.settings.lists
    nothing = changes.Changes(dict(all_), 0, 0, 0)
    base, before, why_not = earlier_pages(ctx.lake, plan, search_key)
    if base is None or before is None:
        return Night("full", why_not, True, 0), nothing
    name = base.plan.run_id
    found = changes.compare(all_, now, before)
    pages = sum(len(g) for g in all_.values())
    why = f"since {name}: {found.fresh:,} of {pages:,} pages new or changed, {found.departed:,} gone"
    if found.fresh > lists.full_from_share * pages:
        return Night("full", f"{why}; more than {lists.full_from_share:.0%} (lists.full_from_share)", True, 0), nothing
    written = int(before.schema.metadata[b"written"]) + 1
    writes = base.stages["complements"].writes
    current = all(_files(ctx, t, writes[t]) == _files(ctx, t, ctx.manifest.version(t)) for t in TABLES)
    whole = not current or written > lists.compact_nights or _mostly_past(ctx, all_)
    return Night("incremental", why, whole, 0 if whole else written, base), found


def _mostly_past(ctx: StageContext, all_: Mapping[str, Gallery]) -> bool:
    """Whether a table's slice has more rows that hold no more than rows that do: reading them costs more by now than
    writing the slice as a whole."""
    plan = ctx.manifest.plan
    lists = sum(len(all_[c]) * len(ctx.taxonomy.targets[c]) for c in plan.categories)
    slice_ = {"model_version": [plan.inputs.model_version], "source_category": list(plan.categories)}
    return any(ctx.lake.rows(t, ctx.manifest.version(t), slice_) > 2 * lists for t in TABLES)


def earlier_pages(lake: Lake, plan: RunPlan, search_key: str) -> tuple[Manifest | None, pa.Table | None, str]:
    """The earlier night whose lists tonight's can start from, with its pages; or why there is none."""
    if plan.recompute:
        return None, None, "asked to recompute"
    base = _last(lake, plan)
    if base is None:
        return None, None, "no earlier night of this model with these categories"
    before = changes.load(lake, base.plan.run_id)
    stamp = {} if before is None else before.schema.metadata or {}
    if b"search_key" not in stamp:
        return None, None, f"{base.plan.run_id} left no record of its pages"
    if stamp[b"search_key"].decode() != search_key:
        what = "masks, taxonomy, the kind of search, lists.depth or lists.fallback"
        return None, None, f"{what} changed since {base.plan.run_id}"
    return base, before, ""


def _last(lake: Lake, plan: RunPlan) -> Manifest | None:
    """The newest earlier night (by date, then generation) of the same model whose lists cover tonight's categories."""
    runs = sorted(lake.runs(), key=lambda r: (r.run_date, r.generation), reverse=True)
    for other in runs:
        if (other.run_date, other.generation) >= (plan.run_date, plan.generation) or str(other) == plan.run_id:
            continue
        manifest = lake.manifest(str(other))
        same = manifest.plan.inputs.model_version == plan.inputs.model_version
        if same and "complements" in manifest.stages and set(plan.categories) <= set(manifest.plan.categories):
            return manifest
    return None


def _slices(ctx: StageContext, base: Manifest) -> dict[str, tuple[list[str], list[str]]]:
    """By source category the files of `candidates` and of `complements` that the earlier night's lists are in."""
    writes, model = base.stages["complements"].writes, ctx.manifest.plan.inputs.model_version
    opened = {t: ctx.lake.open(t, writes[t]) for t in TABLES if writes[t] != NO_TABLE}

    def files(table: str, category: str) -> list[str]:
        slice_ = [("model_version", "=", model), ("source_category", "=", category)]
        return sorted(opened[table].file_uris(file_pruning_predicate=slice_)) if table in opened else []

    return {c: (files("candidates", c), files("complements", c)) for c in ctx.manifest.plan.categories}


def masks_of(taxonomy: Taxonomy, categories: tuple[str, ...], weights: Weights) -> dict[tuple[str, str], Float32]:
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
    ctx: StageContext, key: str, night: Night, choice: Choice, tasks: list[Task | Update],
    masks: dict[tuple[str, str], Float32], rules: Rules,
) -> tuple[dict[str, int], dict[str, float]]:  # fmt: skip
    from jobs.complements.worker import Spec
    from jobs.spark import alive, session, stop

    plan, lists = ctx.manifest.plan, ctx.settings.lists
    approximate = choice.approximate(tasks)
    spec = Spec(
        ctx.lake.root, ctx.lake.s3_endpoint_url, plan.run_id, key, plan.inputs.model_version,
        ctx.taxonomy, allowed(ctx.taxonomy), masks, lists.depth, limits_of(ctx), lists.base_block,
        "faiss" if lists.engine == "faiss" else "blas", night.written, night.whole, rules, plan.run_date, approximate,
    )  # fmt: skip
    t0 = time.monotonic()
    from pyspark.sql import SparkSession

    ours = SparkSession.getActiveSession() is None
    spark = session(ctx.settings, f"medal complements {plan.run_id}")
    started = time.monotonic() - t0
    try:
        with alive(ctx.settings):
            writes, counts = _search_and_write(ctx, spark, spec, priced(tasks, approximate))
    finally:
        if ours:
            stop(spark)
    return writes, {**counts, "session_s": round(started, 3)}


def _search_and_write(
    ctx: StageContext, spark: SparkSession, spec: Spec, tasks: list[Task | Update]
) -> tuple[dict[str, int], dict[str, float]]:
    from jobs.complements.spark_search import search_and_write

    partitions = ctx.settings.spark.partitions or partitions_for(tasks, spark.sparkContext.defaultParallelism)
    shares = deal(tasks, partitions)
    pairs = sum(t.pairs for t in tasks)
    ctx.log(f"complements: {len(tasks)} tasks, {len(shares)} Spark tasks, {pairs:,} pairs to search in full")
    t0 = time.monotonic()
    files, figures = search_and_write(spark, spec, shares, ctx.log, lambda: ctx.fault("complements.searching"))
    ctx.fault("complements.searching")
    t1 = time.monotonic()
    by_table = {t: [f for f in files if f.table == t] for t in TABLES}
    writes = {"candidates": commit.save(ctx, "candidates", by_table["candidates"], spec.whole, spec.written)}
    ctx.fault("complements.candidates_committed")
    writes["complements"] = commit.save(ctx, "complements", by_table["complements"], spec.whole, spec.written)
    counts = _counts(figures, t1 - t0, time.monotonic() - t1)
    written = {f"{t}_written": sum(f.rows for f in own) for t, own in by_table.items()}
    return writes, counts | written


def _counts(f: Figures, wall_s: float, commit_s: float) -> dict[str, float]:
    """Figures of the manifest. read/search/rescore/finish/write are seconds of the workers added up; the rest wall
    clock."""
    raw = asdict(f)
    named = {"no_vector": "empty_no_vector", "no_target": "empty_no_target", "able": "feasible"}
    out: dict[str, float] = {named.get(n, n): round(v, 3) if n.endswith("_s") else v for n, v in raw.items()}
    out["coverage"] = round(f.entries / f.able, 6) if f.able else 1.0
    return out | {"lists_s": round(wall_s, 3), "commit_s": round(commit_s, 3)}
