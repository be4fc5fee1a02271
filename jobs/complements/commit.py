"""Commits of both tables: the data files that the workers wrote become part of them, exactly once.

Each commit says what it holds (`medal_lists`): the model, whether it is the whole slice, and by source category the
rows' digest and which files they are in. So it is known without reading whether a slice holds what was computed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deltalake.transaction import AddAction

from jobs.complements.hashing import Digest
from jobs.complements.write import DataFile
from jobs.errors import ConservationError
from jobs.lake import NO_TABLE, Lake
from jobs.stage import StageContext

ABOUT = "medal_lists"


def save(ctx: StageContext, table: str, files: Sequence[DataFile], whole: bool, written: int) -> int:
    """The version of a table that holds this run's lists: the one this run starts from where that has them already.

    `whole`: the files are the run's slice, and replace it; else they are added as generation `written`. A run killed
    after its commit finds it by run id; that the commit holds what was computed again is checked.
    """
    plan = ctx.manifest.plan
    by_category = {c: [f for f in files if f.category == c] for c in plan.categories}
    content = {c: sum((f.content for f in own), Digest()) for c, own in by_category.items()}
    ctx.lease.check()
    for commit in ctx.lake.commits(table, run_id=plan.run_id):
        if _contents(commit.about) != content:
            raise ConservationError(
                f"table {table}: version {commit.version}, committed by {plan.run_id} before it was interrupted, "
                "differs from what the same inputs give now; plan the date again with --recompute"
            )
        ctx.log(f"complements: {table} is there already, version {commit.version}")
        return commit.version
    before = ctx.manifest.version(table)
    if _holds(ctx.lake, table, before, plan.inputs.model_version, content) if whole else not files:
        ctx.log(f"complements: {table} unchanged, version {before} stays")
        return before
    about = {
        "model_version": plan.inputs.model_version, "whole": whole,
        "categories": {c: [*_hex(content[c]), _named(f.path for f in own)] for c, own in by_category.items()},
    }  # fmt: skip
    slice_: Any = [("model_version", "=", plan.inputs.model_version), ("source_category", "in", list(plan.categories))]
    ctx.lease.check()
    version = ctx.lake.commit_files(
        table, [_added(f, plan.inputs.model_version, written) for f in files], ctx.run,
        model_version=plan.inputs.model_version, replaced=slice_ if whole else None, about={ABOUT: json.dumps(about)},
    )  # fmt: skip
    rows = sum(f.rows for f in files)
    ctx.log(f"complements: {table} version {version}, {rows:,} rows in {len(files)} files")
    return version


def _holds(lake: Lake, table: str, version: int, model_version: str, content: Mapping[str, Digest]) -> bool:
    """Whether a slice at a version is made of whole writes of exactly this content, and of their files alone."""
    if version == NO_TABLE:
        return False
    left = dict(content)
    opened = lake.open(table, version)
    for commit in lake.commits(table):  # newest first
        said = _about(commit.about)
        if commit.version > version or said.get("model_version") != model_version:
            continue
        for category, (*digest, named) in said["categories"].items():
            if category not in left:
                continue
            slice_: Any = [("model_version", "=", model_version), ("source_category", "=", category)]
            there = opened.file_uris(file_pruning_predicate=slice_)
            if not said["whole"] or digest != _hex(left.pop(category)) or named != _named(there):
                return False
        if not left:
            return True
    return False


def _added(file: DataFile, model_version: str, written: int) -> AddAction:
    least, greatest = ({"item_id": end, "written": written} for end in (file.least, file.greatest))
    stats = {"numRecords": file.rows, "minValues": least, "maxValues": greatest, "nullCount": {"item_id": 0}}
    values = {"model_version": model_version, "source_category": file.category}
    return AddAction(file.path, file.size, values, int(time.time() * 1000), True, json.dumps(stats))


def _about(commit: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a commit says of its lists; of no model where it says nothing."""
    said: Mapping[str, Any] = json.loads(commit.get(ABOUT, "{}"))
    return said


def _contents(commit: Mapping[str, Any]) -> dict[str, Digest]:
    said = _about(commit).get("categories", {})
    return {c: Digest(rows, int(total, 16), int(mixed, 16)) for c, (rows, total, mixed, _) in said.items()}


def _hex(content: Digest) -> list[Any]:
    """As JSON keeps it in every reader: 64-bit numbers as texts."""
    return [content.rows, f"{content.total:016x}", f"{content.mixed:016x}"]


def _named(paths: Iterable[str]) -> str:
    """Files by their names, which no other file has."""
    return hashlib.sha256("\n".join(sorted(p.rpartition("/")[2] for p in paths)).encode()).hexdigest()[:16]
