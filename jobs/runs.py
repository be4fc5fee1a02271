"""What passes between stages: the run's identity, its plan, each stage's result, the manifest.

All frozen. The manifest is the only place where stages learn table versions; no stage reads "latest".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any, Literal

from jobs.errors import DataError, SettingsError

STAGES = ("embed", "complements", "check", "publish", "report")
_RUN_ID = re.compile(r"^(\d{4}-\d{2}-\d{2})-(all|[0-9a-f]{8})-g(\d+)$")


@dataclass(frozen=True, order=True)
class RunId:
    """`<run_date>-<scope>-g<generation>` (design section 4)."""

    run_date: str
    scope: str
    generation: int

    def __str__(self) -> str:
        return f"{self.run_date}-{self.scope}-g{self.generation}"

    @classmethod
    def parse(cls, text: str) -> RunId:
        if not (m := _RUN_ID.match(text)):
            raise SettingsError(f"'{text}' is no run id; they look like 2026-11-25-all-g1 (see `medal runs`)")
        return cls(m[1], m[2], int(m[3]))


def scope_of(categories: tuple[str, ...] | None) -> str:
    """'all', or 8 hex digits of the sorted source categories asked for."""
    if categories is None:
        return "all"
    return hashlib.sha256("\n".join(sorted(set(categories))).encode()).hexdigest()[:8]


def parse_date(text: str) -> str:
    """An ISO date, checked. Raises SettingsError."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise SettingsError(f"'{text}' is no date; write it as YYYY-MM-DD") from None


@dataclass(frozen=True)
class Inputs:
    """Everything that may influence a result; equal inputs give equal runs."""

    catalog: str  # content fingerprint of the snapshot, image states included
    model_version: str
    taxonomy: str
    settings: str
    categories: tuple[str, ...] | None = None  # source categories asked for; None = all
    rules: str = ""  # fingerprint of the merchandising rules in force on the run date; "" for none
    slot_order: str = ""  # digest of the slots' order where it is not the taxonomy's

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RunPlan:
    """What tonight means. Made by `jobs.plan`, read by every stage."""

    run_id: str
    run_date: str
    scope: str
    generation: int
    inputs: Inputs
    categories: tuple[str, ...]  # the source categories of this run, in taxonomy order
    catalog_path: str
    image_root: str
    teacher_dir: str
    taxonomy_path: str | None
    publish: bool  # False: the lake only
    versions: Mapping[str, int]  # table -> version this run starts from; -1 where there is no table yet
    counts: Mapping[str, int]  # rows, rejected, eligible
    recompute: bool = False  # asked for again although nothing changed: no stage borrows another run's result
    backfill: bool = False
    reason: str = ""  # why a person asked for it (backfill)
    slot_order: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by source, where not the taxonomy's


@dataclass(frozen=True)
class StageResult:
    """What one stage did. `reads`/`writes` are table versions; `counts` are the stage's figures."""

    stage: str
    status: Literal["done", "skipped"]
    reads: Mapping[str, int] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""
    key: str = ""  # fingerprint of the stage's own inputs; equal key, equal content
    target: str = ""  # the store it was done for; '' for stages that write to the lake alone


@dataclass(frozen=True)
class Manifest:
    """`runs/<run_id>/manifest.json`: the plan and the results of the stages that ended."""

    plan: RunPlan
    stages: Mapping[str, StageResult] = field(default_factory=dict)

    def version(self, table: str) -> int:
        """The version of `table` this run works on: the newest one written by a stage, else the plan's."""
        for stage in reversed(STAGES):
            if (r := self.stages.get(stage)) and table in r.writes:
                return r.writes[table]
        return self.plan.versions.get(table, -1)

    def done(self, stage: str, target: str | None = None) -> bool:
        """Is the stage's result there, for that target (None: any)?"""
        return stage in self.stages and target in (None, self.stages[stage].target)

    def complete(self) -> bool:
        return all(s in self.stages for s in STAGES)

    def with_stage(self, result: StageResult) -> Manifest:
        return replace(self, stages={**self.stages, result.stage: result})

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        try:
            raw: dict[str, Any] = json.loads(text)
            p = raw["plan"]
            i = p["inputs"]
            cats = i.pop("categories")
            inputs = Inputs(**i, categories=None if cats is None else tuple(cats))
            plan = RunPlan(**{**p, "inputs": inputs, "categories": tuple(p["categories"])})
            return cls(plan, {name: StageResult(**r) for name, r in raw["stages"].items()})
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"{where}: not a manifest of this version ({e!r}); plan the date again") from e
