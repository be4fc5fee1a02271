"""What every stage has in common: its context, once-only running, the manifest, metrics."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from jobs.lake import Lake
from jobs.lease import Lease, held
from jobs.runs import Manifest, RunId, RunPlan, StageResult
from jobs.settings import Settings
from schemas.slot_order import NO_ORDER, SlotOrder, SlotOrderError, read_slot_order
from schemas.taxonomy import Taxonomy, TaxonomyError, load_taxonomy

FAULT_POINTS = (
    "plan.snapshot_committed",
    "embed.fetched",
    "embed.embedded",
    "embed.before_commit",
    "embed.between_slices",
    "embed.slice_committed",
    "embed.before_manifest",
    "complements.searching",
    "complements.candidates_committed",
    "complements.before_manifest",
    "publish.lists_written",
    "publish.before_pointer",
    "publish.before_manifest",
)


def log(message: str) -> None:
    """A line for the person watching: time of day and message, on stderr."""
    print(f"{datetime.now():%H:%M:%S} {message}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class StageContext:
    """What a stage may use."""

    settings: Settings
    lake: Lake
    manifest: Manifest
    taxonomy: Taxonomy
    lease: Lease

    @property
    def run(self) -> RunId:
        return RunId.parse(self.manifest.plan.run_id)

    def log(self, message: str) -> None:
        log(message)

    def fault(self, name: str) -> None:
        """A named point at which crash tests kill the process (setting `fault`)."""
        fault(self.settings, name)


def fault(settings: Settings, name: str) -> None:
    """Kill this process with SIGKILL where the setting `fault` names this point; else nothing."""
    assert name in FAULT_POINTS, name
    if settings.fault == name:
        log(f"fault point {name}: SIGKILL")
        os.kill(os.getpid(), signal.SIGKILL)


def taxonomy_of(settings: Settings) -> Taxonomy:
    """The shop's taxonomy. Raises SettingsError."""
    from jobs.errors import SettingsError

    try:
        return load_taxonomy(settings.taxonomy)
    except TaxonomyError as e:
        raise SettingsError(str(e)) from e


def slot_order_of(settings: Settings) -> SlotOrder:
    """The order of slots that the settings name. Raises SettingsError."""
    from jobs.errors import SettingsError

    path = settings.lists.slot_order
    try:
        return NO_ORDER if path is None else read_slot_order(path)
    except SlotOrderError as e:
        raise SettingsError(f"lists.slot_order: {e}") from e


def planned_taxonomy(settings: Settings, plan: RunPlan) -> Taxonomy:
    """The shop's taxonomy with its slots as the run was planned, whatever the order's file says by now."""
    return SlotOrder({c: tuple(t) for c, t in plan.slot_order.items()}).applied(taxonomy_of(settings))


def open_lake(settings: Settings) -> Lake:
    return Lake(settings.lake, s3_endpoint_url=settings.s3_endpoint_url)


Job = Callable[[StageContext], StageResult]


def run_stage(
    name: str, job: Job, settings: Settings, run_id: str, lease: Lease | None = None, *, target: str = ""
) -> StageResult:
    """Run a stage of a planned run, once: a stage whose manifest entry is there is returned as it is.

    `target` names what else the stage writes to (the store, for publish): one that was done for another target runs
    again. Takes the lake's lease unless the caller holds it. Saves the manifest and logs `run_metrics`.
    """
    lake = open_lake(settings)
    if lease is None:
        manifest = lake.manifest(run_id)
        if manifest.done(name, target):
            log(f"{name}: nothing to do, {run_id} has it already")
            return manifest.stages[name]
        with held(lake, f"medal {name} of {run_id}", settings.lease.ttl_s) as own:
            return run_stage(name, job, settings, run_id, own, target=target)
    manifest = lake.manifest(run_id)
    if manifest.done(name, target):
        log(f"{name}: nothing to do, {run_id} has it already")
        return manifest.stages[name]
    started = time.monotonic()
    ctx = StageContext(settings, lake, manifest, planned_taxonomy(settings, manifest.plan), lease)
    result = replace(job(ctx), seconds=round(time.monotonic() - started, 3), target=target)
    lease.check()
    lake.save_manifest(lake.manifest(run_id).with_stage(result))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    figures = {**result.counts, "seconds": result.seconds}
    lake.log(
        "run_metrics",
        [{"run_id": run_id, "stage": name, "metric": m, "value": float(v), "at": at} for m, v in figures.items()],
    )
    log(f"{name}: {result.status} in {result.seconds:.1f} s" + (f" ({result.note})" if result.note else ""))
    return result
