"""Stage `report`: `runs/<run_id>/report.html`."""

from __future__ import annotations

from jobs.lake import Lake
from jobs.report.page import render
from jobs.runs import Manifest, StageResult
from jobs.settings import Settings
from jobs.stage import StageContext

__all__ = ["render", "run", "write_report"]


def run(ctx: StageContext) -> StageResult:
    """Write the report of a run."""
    html = render(ctx.settings, ctx.lake, ctx.manifest)
    where = _save(ctx.lake, ctx.manifest, html)
    return StageResult("report", "done", counts={"bytes": len(html)}, note=where)


def write_report(settings: Settings, lake: Lake, manifest: Manifest) -> str:
    """Write the report of a run as it stands, blocked runs included; the manifest is left alone. Returns its place."""
    return _save(lake, manifest, render(settings, lake, manifest))


def _save(lake: Lake, manifest: Manifest, html: bytes) -> str:
    lake.files.write(f"runs/{manifest.plan.run_id}/report.html", html)
    return f"{lake.run_uri(manifest.plan.run_id)}/report.html"
