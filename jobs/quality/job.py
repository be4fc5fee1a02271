"""Stage `check`: the gate over tonight's catalogue, vectors and lists."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.generations import read_live
from jobs.embed.active import active_products
from jobs.embed.newcomers import exploring
from jobs.embed.states import load_states
from jobs.errors import DataError, GateBlocked
from jobs.lake import Lake
from jobs.quality.aggregates import Frame, catalog_accounts, catalog_products, vector_rows, vector_spread
from jobs.quality.concentration import FIGURES, told
from jobs.quality.gate import FrameSource, run_gate
from jobs.quality.lists import list_frames
from jobs.quality.recall import exact_frame, overall, recall_frame
from jobs.quality.suites import gate_values, load_suites
from jobs.quality.verdict import Verdict
from jobs.runs import StageResult
from jobs.stage import StageContext
from medal_model.export import TeacherError, TeacherHeader, read_header

_TABLES = ("catalog", "embeddings", "complements")


def run(ctx: StageContext) -> StageResult:
    """Check the run. Logs every result in `quality_results` and keeps them beside the manifest.

    Raises GateBlocked, after logging, where a critical check failed or any check crashed: the stage then has no
    manifest entry, so nothing after it runs.
    """
    run_id = ctx.manifest.plan.run_id
    if not ctx.manifest.done("complements"):
        raise DataError(f"{run_id}: no lists yet; run `medal complements --run-id {run_id}` first")
    verdict, figures = judge(ctx)
    ctx.lake.log(
        "quality_results",
        [
            {
                "run_id": run_id, "suite": r.suite, "check": r.check, "severity": r.severity, "outcome": r.outcome,
                "observed": r.observed, "expected": r.expected, "message": r.message,
            }
            for r in verdict.results
        ],
    )  # fmt: skip
    ctx.lake.files.write(verdict_file(run_id), verdict.to_json().encode())
    if verdict.blocked:
        raise GateBlocked(f"{run_id}: {verdict.line()}")
    return StageResult(
        "check",
        "done",
        reads={t: ctx.manifest.version(t) for t in _TABLES},
        counts={
            "checks": len(verdict.results),
            "passed": sum(r.outcome == "passed" for r in verdict.results),
            "critical_failed": len(verdict.failed),
            "warnings": len(verdict.warnings),
            "crashed": len(verdict.crashed),
            **figures,
        },
        note="; ".join((verdict.line(), *([told(figures)] if "gini" in figures else []), _search_told(figures))),
    )


def _search_told(figures: Mapping[str, float]) -> str:
    if "recall" not in figures:
        return "exact search, so no recall to measure"
    told = f"recall {figures['recall']:.3f} of approximate search on {figures['recall_lists']:,.0f} lists"
    return f"{told}, {figures['recall_lowest']:.3f} in the worst target category"


def judge(ctx: StageContext) -> tuple[Verdict, dict[str, float]]:
    """The verdict on a run, Data Docs written beside its manifest, and figures: coverage and concentration over all its
    lists, and where they come from approximate search their recall."""
    active = active_products(ctx)
    lists, recall = cache(lambda: _lists(ctx, active)), cache(lambda: _recall(ctx, active))
    frames: dict[str, FrameSource] = {
        "products": lambda: catalog_products(active),
        "accounts": lambda: catalog_accounts(active, ctx.manifest.plan.counts, _rejected_logged(ctx)),
        "vectors": lambda: vector_rows(active),
        "spread": lambda: vector_spread(active, _images(ctx, active), _duplicate_keys(ctx)),
        "lists": lambda: lists()[0],
        "categories": lambda: lists()[1],
        "recall": recall,
    }
    checks = load_suites(ctx.settings.gate.suites_dir)
    values = gate_values(ctx.settings, ctx.taxonomy)
    run_id = ctx.manifest.plan.run_id
    if ctx.lake.is_s3:
        with tempfile.TemporaryDirectory(prefix="medal-docs-") as folder:
            verdict = run_gate(checks, frames, values, Path(folder))
            upload(ctx.lake, Path(folder), f"runs/{run_id}/data_docs")
        verdict = replace(verdict, docs=f"{ctx.lake.run_uri(run_id)}/data_docs/index.html")
    else:
        verdict = run_gate(checks, frames, values, Path(ctx.lake.run_uri(run_id)) / "data_docs")
    figures = {"coverage": 0.0}
    with suppress(Exception):  # the gate has it as a crashed check already
        total = lists()[0].data.iloc[0]
        figures |= {name: round(float(total[name]), 6) for name in ("coverage", *FIGURES)}
    if _approximate(ctx):
        with suppress(Exception):
            names = ("recall", "recall_lowest", "recall_lists")
            figures |= dict(zip(names, overall(recall()), strict=True))
    return verdict, figures


def verdict_file(run_id: str) -> str:
    return f"runs/{run_id}/checks.json"


def load_verdict(lake: Lake, run_id: str) -> Verdict | None:
    """The newest verdict on a run; None where the gate has not run."""
    data = lake.files.read(verdict_file(run_id))
    return None if data is None else Verdict.from_json(data.decode())


def upload(lake: Lake, folder: Path, prefix: str) -> None:
    """Copy a folder's files into the lake."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        lake.files.write(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def _lists(ctx: StageContext, active: pa.Table) -> tuple[Frame, Frame]:
    plan = ctx.manifest.plan
    return list_frames(
        exploring(ctx, active),
        lists_of(ctx),
        categories=plan.categories,
        taxonomy=ctx.taxonomy,
        weights=_teacher(ctx).weights,
        k=ctx.settings.lists.k,
        explore=ctx.settings.lists.explore,
    )


def _approximate(ctx: StageContext) -> bool:
    """Do tonight's lists come from approximate search?"""
    return bool(ctx.manifest.stages["complements"].counts.get("approximate", 0))


def _recall(ctx: StageContext, active: pa.Table) -> Frame:
    plan, settings = ctx.manifest.plan, ctx.settings
    if not _approximate(ctx):
        return exact_frame()
    version, columns = ctx.manifest.version("candidates"), ["item_id", "target_category", "neighbour_ids"]

    def neighbours(category: str, pages: list[str]) -> pa.Table:
        rows = [("model_version", "=", plan.inputs.model_version), ("source_category", "=", category),
                ("item_id", "in", pages)]  # fmt: skip
        return read_live(ctx.lake, "candidates", version, columns=columns, filters=rows)

    return recall_frame(
        active, neighbours, categories=plan.categories, taxonomy=ctx.taxonomy, weights=_teacher(ctx).weights,
        k=settings.lists.k, pages=settings.gate.recall_pages, seed=plan.run_date,
    )  # fmt: skip


def lists_of(ctx: StageContext) -> Callable[[str], pa.Table]:
    """Reads a source category's rows of tonight's `complements`."""
    version, model = ctx.manifest.version("complements"), ctx.manifest.plan.inputs.model_version
    return lambda category: read_live(
        ctx.lake, "complements", version, filters=[("model_version", "=", model), ("source_category", "=", category)]
    )


def _teacher(ctx: StageContext) -> TeacherHeader:
    plan = ctx.manifest.plan
    try:
        header = read_header(Path(plan.teacher_dir))
    except TeacherError as e:
        raise DataError(str(e)) from e
    if header.model_version != plan.inputs.model_version:
        raise DataError(
            f"{plan.teacher_dir}: is {header.model_version} now, the run was planned with "
            f"{plan.inputs.model_version}; plan the date again"
        )
    return header


def _images(ctx: StageContext, active: pa.Table) -> pa.ChunkedArray | None:
    """Each product's image fingerprint, in the order of `active`."""
    states = load_states(ctx.lake, ctx.manifest.plan.run_id)
    return None if states is None else states.sort_by("item_id")["image_fingerprint"]


def _duplicate_keys(ctx: StageContext) -> int:
    model = ctx.manifest.plan.inputs.model_version
    keys = ctx.lake.read(
        "embeddings",
        ctx.manifest.version("embeddings"),
        columns=["item_id", "image_fingerprint"],
        filters=[("model_version", "=", model)],
    )
    return int(keys.num_rows - keys.group_by(["item_id", "image_fingerprint"]).aggregate([]).num_rows)


def _rejected_logged(ctx: StageContext) -> int:
    """Distinct rows of this run in the log of rejected rows."""
    rows = ctx.lake.read(
        "rejected_rows",
        ctx.lake.version("rejected_rows"),
        columns=["row"],
        filters=[("run_id", "=", ctx.manifest.plan.run_id)],
    )
    return int(pc.count_distinct(rows["row"]).as_py())
