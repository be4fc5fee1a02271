"""The quarantine as an operator sees it: what is in it, why, until when; and out of it at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from jobs.embed.states import PASSING, Failure
from jobs.errors import DataError, SettingsError
from jobs.lake import Lake
from jobs.lease import held
from schemas.tables import QUARANTINE

AT_ONCE = "0001-01-01"  # a date to wait until that is over on any night


def entries(lake: Lake, model: str | None = None) -> dict[str, list[Failure]]:
    """Failures by model, of the newest version, by item_id. Raises SettingsError for a model that has none there."""
    rows = lake.read("quarantine", lake.version("quarantine")).sort_by("item_id").to_pylist()
    found: dict[str, list[Failure]] = {}
    for r in rows:
        found.setdefault(r.pop("model_version"), []).append(Failure(**r))
    if model is None:
        return found
    if model not in found:
        known = ", ".join(sorted(found)) or "none"
        raise SettingsError(f"--model {model}: nothing of this model is in quarantine; models there: {known}")
    return {model: found[model]}


def summary(failures: Collection[Failure]) -> list[tuple[str, int, str, str]]:
    """(class, count, what becomes of it, earliest date of a further try), the commonest first."""
    counts = Counter(f.error_class for f in failures)
    return [
        (kind, n, "waits" if kind in PASSING else "quarantined",
         min(f.retry_from for f in failures if f.error_class == kind))
        for kind, n in counts.most_common()
    ]  # fmt: skip


def retry(
    lake: Lake, ttl_s: float, items: Collection[str] = (), error_class: str | None = None, model: str | None = None
) -> int:
    """Let failures be tried again on the next night, whatever their wait; attempts are kept. How many were changed.

    Chosen by item, by class, or both. Raises SettingsError where an item is not there or nothing was chosen,
    LeaseHeld where a run is writing.
    """
    if not items and error_class is None:
        raise SettingsError("give item ids, --error-class, or both: nothing is retried by default")
    with held(lake, "medal quarantine retry", ttl_s) as lease:
        found = entries(lake, model)
        there = {f.item_id for of in found.values() for f in of}
        if lost := sorted(set(items) - there):
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            raise SettingsError(f"{', '.join(lost[:3])}{more}: not in quarantine; see `medal quarantine list`")

        def chosen(f: Failure) -> bool:
            return (not items or f.item_id in items) and error_class in (None, f.error_class)

        changed = 0
        rows = []
        for name, of in found.items():
            for f in of:
                again = chosen(f) and f.retry_from != AT_ONCE
                changed += again
                rows.append({**(replace(f, retry_from=AT_ONCE) if again else f).__dict__, "model_version": name})
        if changed:
            lease.check()
            names = list(found)
            lake.amend(
                "quarantine",
                pa.Table.from_pylist(rows, schema=QUARANTINE.schema),
                predicate=" OR ".join(f"model_version = '{n}'" for n in names),
                why=f"retry of {changed}",
            )
        return changed


def show(lake: Lake, item: str) -> list[tuple[str, Failure]]:
    """An item's entries by model. Raises DataError where it has none."""
    version = lake.version("quarantine")
    rows = lake.read("quarantine", version)
    rows = rows.filter(pc.equal(rows["item_id"], item))
    found = [(r.pop("model_version"), Failure(**r)) for r in rows.to_pylist()]
    if not found:
        raise DataError(f"{item}: not in quarantine; see `medal quarantine list`")
    return found
