"""The whole night in one process: plan, then the stages in order under one lease."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from jobs.errors import GateBlocked
from jobs.lease import held
from jobs.plan import PlanRequest, plan_run
from jobs.runs import STAGES, Manifest
from jobs.settings import Settings
from jobs.stage import Job, log, open_lake, run_stage

# Imported only when a stage really runs: a night with nothing to do starts neither torch nor Spark.
_JOBS = {
    "embed": "jobs.embed.job",
    "complements": "jobs.complements.job",
    "check": "jobs.quality.job",
    "publish": "jobs.publish.job",
    "report": "jobs.report.job",
}


def job_of(stage: str) -> Job:
    """The stage's function, imported when it is called."""

    def call(ctx):  # type: ignore[no-untyped-def]
        return importlib.import_module(_JOBS[stage]).run(ctx)

    return call


def target_of(stage: str, settings: Settings) -> str:
    """What a stage writes to beside the lake: the store, for publish."""
    if stage != "publish":
        return ""
    from jobs.publish.stores import open_store

    return open_store(settings).where


def run_night(request: PlanRequest, settings: Settings, stages: Iterable[str] = STAGES) -> Manifest:
    """Plan and run all stages; stages that are there already are skipped. Returns the manifest.

    A blocked gate still gets its report, then GateBlocked goes on.
    """
    lake = open_lake(settings)
    with held(lake, f"medal nightly of {request.run_date}", settings.lease.ttl_s) as lease:
        plan = plan_run(request, settings, lease=lease).plan
        for stage in stages:
            try:
                run_stage(stage, job_of(stage), settings, plan.run_id, lease, target=target_of(stage, settings))
            except GateBlocked:
                from jobs.report.job import write_report

                log(f"report: {write_report(settings, lake, lake.manifest(plan.run_id))}")
                raise
    return lake.manifest(plan.run_id)
