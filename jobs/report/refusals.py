"""What a run refused: catalogue rows by reason, pictures by class, each with a few examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from jobs.lake import Lake
from jobs.runs import Manifest

_EXAMPLES = 3  # rows shown for each reason
_REASONS = 12  # reasons shown; the rest is counted
Example = Callable[[Mapping[str, Any]], tuple[str, str, str]]


@dataclass(frozen=True)
class Group:
    """Things refused for one reason, with a few examples: (what, where, more)."""

    reason: str
    field: str
    count: int
    examples: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Refusals:
    total: int
    groups: tuple[Group, ...]
    rest: int  # not shown, in further groups


def rejected(lake: Lake, manifest: Manifest) -> Refusals:
    """The catalogue rows this run rejected, by field and reason."""
    if not manifest.plan.counts["rejected"]:
        return Refusals(0, (), 0)
    rows = lake.read(
        "rejected_rows", lake.version("rejected_rows"), filters=[("run_id", "=", manifest.plan.run_id)]
    ).to_pandas()
    rows = rows.drop_duplicates("row").sort_values("row")
    return _refusals(
        rows, ["field", "reason"], lambda r: (f"row {r['row']:,}", r["item_id"] or "no item_id", r["value"] or "empty")
    )


def quarantine(lake: Lake, manifest: Manifest, states: pa.Table | None) -> Refusals:
    """The quarantine's rows of products that have no vector of their photo tonight."""
    if states is None or not manifest.done("embed"):
        return Refusals(0, (), 0)
    without = states.to_pandas()
    without = set(without.loc[without["state"].isin(["quarantined", "waiting", "stale_vector"]), "item_id"])
    if not without:
        return Refusals(0, (), 0)
    rows = lake.read(
        "quarantine",
        manifest.version("quarantine"),
        filters=[("model_version", "=", manifest.plan.inputs.model_version)],
    ).to_pandas()
    rows = (
        rows[rows["item_id"].isin(without)]
        .sort_values(["retry_from", "item_id"])
        .drop_duplicates("item_id", keep="last")
    )
    return _refusals(
        rows, ["error_class"],
        lambda r: (r["item_id"], r["message"], f"attempt {r['attempts']}, again from {r['retry_from']}"),
    )  # fmt: skip


def _refusals(rows: pd.DataFrame, by: list[str], example: Example) -> Refusals:
    groups = []
    for key, of in rows.groupby(by, sort=False):
        names = [str(k) for k in key]
        shown = tuple(example(r) for r in of.head(_EXAMPLES).to_dict("records"))
        groups.append(Group(names[-1], names[0] if len(names) > 1 else "", len(of), shown))
    groups.sort(key=lambda g: (-g.count, g.reason))
    return Refusals(len(rows), tuple(groups[:_REASONS]), sum(g.count for g in groups[_REASONS:]))
