"""What a backfill would do for each date, and doing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from jobs.errors import DataError, SettingsError
from jobs.nightly import run_night
from jobs.plan import PlanRequest, plan_run
from jobs.runs import Manifest, parse_date
from jobs.settings import Settings
from jobs.stage import log, open_lake

MAX_DATES = 400  # more than a year of nights is a mistyped date


@dataclass(frozen=True)
class BackfillRequest:
    first: str
    last: str
    reason: str
    teacher: Path
    catalog_pattern: str | None = None  # a path with {date}; none means the snapshots the lake holds
    publish: bool = False


@dataclass(frozen=True)
class Day:
    """One date of a backfill: what there is and what would be done."""

    run_date: str
    run_id: str
    catalog: str
    rows: int
    action: Literal["run", "resume", "complete"]
    why: str


def dates(request: BackfillRequest) -> list[str]:
    """Oldest first. Raises SettingsError for a range that is reversed or too long."""
    first, last = (date.fromisoformat(parse_date(d)) for d in (request.first, request.last))
    if last < first:
        raise SettingsError(f"--from {first} is after --to {last}; swap them")
    n = (last - first).days + 1
    if n > MAX_DATES:
        raise SettingsError(f"--from {first} --to {last} are {n} dates; at most {MAX_DATES} in one call")
    return [(first + timedelta(days=i)).isoformat() for i in range(n)]


def request_of(day: str, request: BackfillRequest) -> PlanRequest:
    catalog = Path(request.catalog_pattern.replace("{date}", day)) if request.catalog_pattern else None
    return PlanRequest(day, catalog, request.teacher, publish=request.publish, backfill=True, reason=request.reason)


def preview(request: BackfillRequest, settings: Settings) -> list[Day]:
    """What would be done for every date; writes nothing.

    Raises DataError naming all dates without a catalogue of their own: none is filled with another day's.
    """
    if not request.reason.strip():
        raise SettingsError("--reason: say why; it goes into the manifest of every run")
    if request.catalog_pattern and "{date}" not in request.catalog_pattern:
        raise SettingsError("--catalog-pattern: must contain {date}, which becomes YYYY-MM-DD")
    lake = open_lake(settings)
    known = {r.run_date for r in lake.runs()}
    pattern = request.catalog_pattern
    missing = [
        day
        for day in dates(request)
        if not (Path(pattern.replace("{date}", day)).exists() if pattern else day in known)
    ]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        where = request.catalog_pattern or f"{lake.root} (give --catalog-pattern 'feeds/{{date}}.csv')"
        raise DataError(f"no catalogue snapshot of {shown} in {where}; narrow the dates or bring the files")
    days = []
    for day in dates(request):
        decision = plan_run(request_of(day, request), settings, dry_run=True)
        plan = decision.plan
        action: Literal["run", "resume", "complete"] = "run"
        if decision.kind == "again":
            stages = lake.manifest(plan.run_id).stages
            action = "complete" if "report" in stages and (not request.publish or "publish" in stages) else "resume"
        days.append(Day(day, plan.run_id, plan.catalog_path, plan.counts["rows"], action, decision.why))
    return days


def apply(request: BackfillRequest, settings: Settings) -> Iterator[Manifest]:
    """Run the dates, oldest first. Stops at the first that fails; called again, finished dates cost nothing."""
    todo = dates(request)
    for n, day in enumerate(todo, start=1):
        log(f"backfill: {day} ({n} of {len(todo)})")
        yield run_night(request_of(day, request), settings)
