"""What tonight means. `resolve()` reads versions and inputs; `decide()` is pure; `plan_run()` writes.

Same inputs as the last run of that date and scope: that run again, and every finished stage of it is skipped
before Spark or torch starts. Other inputs, or `--recompute`: the next generation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from jobs.catalog.reader import open_catalog
from jobs.catalog.snapshot import Rejection, Snapshot, fingerprint_of, take_snapshot
from jobs.errors import DataError, SettingsError
from jobs.images.route import open_images
from jobs.lake import NO_TABLE, Lake
from jobs.lease import Lease, held
from jobs.preflight import CHECKS, check, findings, last_snapshot
from jobs.rules.compile import rule_key
from jobs.rules.files import keep, load
from jobs.runs import Inputs, Manifest, RunId, RunPlan, parse_date, scope_of
from jobs.settings import Settings
from jobs.stage import fault, log, open_lake, slot_order_of, taxonomy_of
from medal_model.export import TeacherError, TeacherHeader, read_header
from schemas.rules import Rules
from schemas.tables import REJECTED_ROWS
from schemas.taxonomy import Taxonomy

_PLANNED_TABLES = ("embeddings", "quarantine", "candidates", "complements")


@dataclass(frozen=True)
class PlanRequest:
    """What a person or the scheduler asks for. `catalog` None: the snapshot the lake has for `run_date`."""

    run_date: str
    catalog: Path | None
    teacher: Path
    categories: tuple[str, ...] | None = None
    recompute: bool = False
    publish: bool = True
    backfill: bool = False
    reason: str = ""
    accept: frozenset[str] = frozenset()  # checks of jobs.preflight whose findings are meant


@dataclass(frozen=True)
class Resolved:
    """Everything `decide` may look at."""

    request: PlanRequest
    snapshot: Snapshot
    catalog_path: str
    image_root: str
    header: TeacherHeader
    taxonomy: Taxonomy
    taxonomy_path: str | None
    rules: Rules
    settings_fingerprint: str
    categories: tuple[str, ...]
    versions: dict[str, int]
    prior: tuple[Manifest, ...]  # runs of this date and scope, oldest generation first


@dataclass(frozen=True)
class Decision:
    """`again`: the run is there already with these inputs. `next`: a new generation."""

    kind: Literal["again", "next"]
    plan: RunPlan
    why: str


def resolve(request: PlanRequest, settings: Settings, lake: Lake) -> Resolved:
    """Read the inputs of a plan. Raises SettingsError or DataError naming what is wrong with them."""
    request = replace(request, run_date=parse_date(request.run_date))
    taxonomy = slot_order_of(settings).applied(taxonomy_of(settings))
    rules = load(settings.rules)
    try:
        header = read_header(request.teacher)
    except TeacherError as e:
        raise DataError(str(e)) from e
    categories = _categories(request.categories, taxonomy)
    _check_masks(categories, header, taxonomy, request.teacher)
    if request.catalog is None:
        snapshot, path, root = _from_lake(request.run_date, lake)
    else:
        path_ = request.catalog.resolve()
        pattern = _pattern(settings.catalog.group_id_pattern)
        images = open_images(settings, path_.parent, request.run_date, lambda: listed_before(lake, request.run_date))
        reading = open_catalog(path_, settings.catalog.columns, taxonomy)
        snapshot = take_snapshot(reading.rows, request.run_date, taxonomy, images, pattern)
        for line in (reading.notes.kind, *reading.notes.lines()):
            log(f"plan: {path_.name}: {line}")
        images.close()
        path, root = str(path_), str(path_.parent)
    scope = scope_of(request.categories)
    prior = tuple(lake.manifest(str(r)) for r in lake.runs() if r.run_date == request.run_date and r.scope == scope)
    return Resolved(
        request,
        snapshot,
        path,
        root,
        header,
        taxonomy,
        str(settings.taxonomy) if settings.taxonomy else None,
        rules,
        settings.fingerprint(),
        categories,
        {t: lake.version(t) for t in _PLANNED_TABLES},
        prior,
    )


def decide(r: Resolved) -> Decision:
    """The run these inputs mean. Pure."""
    q = r.request
    inputs = Inputs(
        r.snapshot.fingerprint,
        r.header.model_version,
        r.taxonomy.fingerprint,
        r.settings_fingerprint,
        q.categories,
        rule_key(r.rules, q.run_date),
        r.taxonomy.slot_order,
    )
    last = r.prior[-1].plan if r.prior else None
    if last is not None and last.inputs.fingerprint() == inputs.fingerprint() and not q.recompute:
        return Decision("again", replace(last, publish=q.publish), "the inputs are those of the last run")
    generation = last.generation + 1 if last else 1
    run = RunId(q.run_date, scope_of(q.categories), generation)
    plan = RunPlan(
        run_id=str(run),
        run_date=q.run_date,
        scope=run.scope,
        generation=generation,
        inputs=inputs,
        categories=r.categories,
        catalog_path=r.catalog_path,
        image_root=r.image_root,
        teacher_dir=str(q.teacher.resolve()),
        taxonomy_path=r.taxonomy_path,
        publish=q.publish,
        versions=r.versions,
        counts={
            "rows": r.snapshot.total,
            "rejected": len(r.snapshot.rejected),
            "eligible": r.snapshot.rows.num_rows,
            "defaulted_departments": r.snapshot.defaulted_departments,
        },
        recompute=q.recompute,
        backfill=q.backfill,
        reason=q.reason,
        slot_order={c: r.taxonomy.targets[c] for c in r.taxonomy.categories} if r.taxonomy.slot_order else {},
    )
    return Decision("next", plan, _why(last, inputs, q.recompute))


def plan_run(
    request: PlanRequest, settings: Settings, *, dry_run: bool = False, lease: Lease | None = None
) -> Decision:
    """Plan a run: check the catalogue, write its snapshot and the rejected rows, save the manifest.

    Raises DataError past the threshold of rejected rows (they are logged first), and where the catalogue is too
    unlike the one before (jobs.preflight). A dry run writes nothing.
    """
    lake = open_lake(settings)
    if lease is None and not dry_run:
        with held(lake, f"medal plan of {request.run_date}", settings.lease.ttl_s) as own:
            return plan_run(request, settings, lease=own)
    resolved = resolve(request, settings, lake)
    decision = decide(resolved)
    snapshot, plan = resolved.snapshot, decision.plan
    log(
        f"plan: {snapshot.total:,} rows, {len(snapshot.rejected):,} rejected, {snapshot.rows.num_rows:,} eligible; "
        f"{plan.run_id}: {decision.why}"
    )
    run = RunId.parse(plan.run_id)
    if not dry_run and decision.kind == "next" and snapshot.rejected:
        lake.append("rejected_rows", _rejected_rows(snapshot, plan.run_id), run)
    limit = settings.catalog.max_rejected_share
    if snapshot.rejected_share > limit or snapshot.rows.num_rows == 0:
        told = "" if dry_run else f"; all are in table rejected_rows under {plan.run_id}"
        raise DataError(
            f"{resolved.catalog_path}: {len(snapshot.rejected):,} of {snapshot.total:,} rows break the contract "
            f"(allowed: {limit:.0%}): {snapshot.commonest_rejections() or 'there is no row'}{told}; "
            "mend the catalogue, or raise catalog.max_rejected_share"
        )
    if decision.kind == "next" and request.catalog is not None:
        _compare(lake, resolved, settings)
    if dry_run:
        return decision
    if decision.kind == "again":
        _renew(lake, resolved.prior[-1], plan)
        return decision
    assert lease is not None
    lease.check()
    version = write_snapshot(lake, snapshot.rows, run)
    fault(settings, "plan.snapshot_committed")
    plan = replace(plan, versions={**plan.versions, "catalog": version})
    keep(lake, plan.run_id, resolved.rules)
    lake.save_manifest(Manifest(plan))
    return replace(decision, plan=plan)


def _compare(lake: Lake, resolved: Resolved, settings: Settings) -> None:
    """Does the catalogue look like the one before? A backfill was asked for by a person: it is told, and goes on."""
    request = resolved.request
    if (last := last_snapshot(lake, request.run_date)) is None:
        return
    since, before = last
    found = findings(before, resolved.snapshot.rows, settings.preflight)
    for line in check(found, resolved.catalog_path, since, CHECKS if request.backfill else request.accept):
        log(f"plan: {line}")


def write_snapshot(lake: Lake, rows: pa.Table, run: RunId) -> int:
    """Write a date's snapshot; no new version where the lake holds the same content. Returns the version."""
    latest = lake.version("catalog")
    slice_ = [("snapshot", "=", run.run_date)]
    if latest != NO_TABLE:
        held_rows = lake.read("catalog", latest, filters=slice_).sort_by("item_id")
        if held_rows.num_rows == rows.num_rows and fingerprint_of(held_rows) == fingerprint_of(rows):
            return latest
    return lake.replace("catalog", rows, run, predicate=f"snapshot = '{run.run_date}'")


def _renew(lake: Lake, manifest: Manifest, plan: RunPlan) -> None:
    """Change only whether a known run publishes, and let publish and report run again when it now does."""
    if plan.publish == manifest.plan.publish:
        return
    published = manifest.stages.get("publish")
    if not plan.publish and published is not None:
        return
    stages = {n: s for n, s in manifest.stages.items() if n not in ("publish", "report")}
    lake.save_manifest(Manifest(plan, stages))


def _categories(asked: Sequence[str] | None, taxonomy: Taxonomy) -> tuple[str, ...]:
    unknown = [c for c in asked or () if c not in taxonomy.categories]
    if unknown:
        raise SettingsError(
            f"--categories: {', '.join(unknown)} unknown to the taxonomy; it has {', '.join(taxonomy.categories)}"
        )
    return tuple(c for c in taxonomy.categories if asked is None or c in asked)


def _check_masks(categories: tuple[str, ...], header: TeacherHeader, taxonomy: Taxonomy, teacher: Path) -> None:
    have = {frozenset(p) for p in header.pairs}
    missing = [f"{s}–{t}" for s in categories for t in taxonomy.targets[s] if frozenset((s, t)) not in have]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise DataError(
            f"{teacher}: teacher {header.model_version} has no mask for {shown}; train it with these categories, "
            "or take the pair out of the taxonomy"
        )


def _pattern(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        re.compile(text)
    except re.error as e:
        raise SettingsError(f"catalog.group_id_pattern: '{text}' is no regular expression: {e}") from e
    return text


def _from_lake(run_date: str, lake: Lake) -> tuple[Snapshot, str, str]:
    known = [r for r in lake.runs() if r.run_date == run_date]
    for run in reversed(known):
        plan = lake.manifest(str(run)).plan
        rows = lake.read("catalog", plan.versions["catalog"], filters=[("snapshot", "=", run_date)])
        rows = rows.sort_by("item_id")
        log_version = lake.version("rejected_rows")
        logged = lake.read("rejected_rows", log_version, filters=[("run_id", "=", str(run))]).sort_by("row")
        rejected = tuple(
            Rejection(x["row"], x["item_id"], x["field"], x["value"], x["reason"]) for x in logged.to_pylist()
        )
        snapshot = Snapshot(
            rows, rejected, plan.counts["rows"], fingerprint_of(rows, rejected), plan.counts["defaulted_departments"]
        )
        return snapshot, plan.catalog_path, plan.image_root
    raise DataError(
        f"{lake.root}: there is no catalogue snapshot of {run_date}; give the catalogue of that day "
        "(--catalog-pattern 'feeds/{date}.csv'), it cannot be guessed from another day's"
    )


def listed_before(lake: Lake, run_date: str) -> dict[str, str | None]:
    """Fingerprints of images on the web by address, from the newest snapshot up to a date."""
    known = [r for r in lake.runs() if r.run_date <= run_date]
    if not known:
        return {}
    last = max(known, key=lambda r: (r.run_date, r.generation))
    rows = lake.read(
        "catalog",
        lake.manifest(str(last)).plan.versions["catalog"],
        columns=["image_uri", "source_fingerprint"],
        filters=[("snapshot", "=", last.run_date)],
    )
    rows = rows.filter(pc.starts_with(rows["image_uri"], "http"))
    return dict(zip(rows["image_uri"].to_pylist(), rows["source_fingerprint"].to_pylist(), strict=True))


def _rejected_rows(snapshot: Snapshot, run_id: str) -> pa.Table:
    rows = [
        {"run_id": run_id, "row": r.row, "item_id": r.item_id, "field": r.field, "value": r.value, "reason": r.reason}
        for r in snapshot.rejected
    ]
    return pa.Table.from_pylist(rows, schema=REJECTED_ROWS.schema)


def _why(last: RunPlan | None, inputs: Inputs, recompute: bool) -> str:
    if last is None:
        return "first run of this date and scope"
    if recompute and last.inputs == inputs:
        return "asked to recompute"
    changed = [
        name
        for name in ("catalog", "model_version", "taxonomy", "settings", "rules", "slot_order")
        if getattr(last.inputs, name) != getattr(inputs, name)
    ]
    return f"{', '.join(changed).replace('_', ' ')} changed since {last.run_id}"


def snapshot_rows(lake: Lake, manifest: Manifest) -> pa.Table:
    """The run's catalogue snapshot, ordered by item_id."""
    rows = lake.read("catalog", manifest.version("catalog"), filters=[("snapshot", "=", manifest.plan.run_date)])
    return rows.take(pc.sort_indices(rows, [("item_id", "ascending")]))
