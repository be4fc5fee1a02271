"""`medal plan --explain`: what the lists will cost tonight and why, before anything is embedded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.complements.engine import choices
from jobs.complements.job import earlier_pages, masks_of, search_key_of
from jobs.complements.tasks import allowed
from jobs.embed.states import load_states
from jobs.lake import Lake
from jobs.plan import Decision, Resolved
from jobs.rules.compile import active
from jobs.runs import RunPlan
from jobs.settings import Settings
from schemas.taxonomy import Taxonomy

Counts = npt.NDArray[np.int64]  # [categories, departments]


@dataclass(frozen=True)
class _Changed:
    """Products of tonight that ask anew, by why; the first reason that holds counts."""

    new: int
    photo: int  # the source says that the image is another one
    moved: int  # another category, department or group
    gone: int
    fresh: npt.NDArray[np.bool_]  # of tonight's rows


def explain(r: Resolved, decision: Decision, settings: Settings, lake: Lake) -> Iterator[str]:
    """Lines for a person. Products are taken to have the vector that tonight's catalogue promises: what cannot be
    embedded costs less."""
    plan, rows = decision.plan, r.snapshot.rows
    if decision.kind == "again":
        yield f"complements: nothing, if {plan.run_id} finished: {decision.why}"
        return
    masks, lists = masks_of(r.taxonomy, plan.categories, r.header.weights), settings.lists
    for choice in (allowed_ := choices(lists)):
        key = search_key_of(r.header.model_version, r.taxonomy, lists, masks, choice)
        lines, cost = _cost(r, plan, key, lists.full_from_share, lake)
        if choice is allowed_[-1] or cost <= lists.exact_pairs:
            break
    yield from lines
    if choice.kind is not None:
        yield (
            f"search: {choice.name}, {choice.why}; fewer scores than these where a category has an index. Such lists "
            "are outside the promise that an incremental night gives what a full one does, and the next exact night "
            "makes them all anew"
        )
    yield from _finished(r, plan.run_date, len(rows))


def _cost(r: Resolved, plan: RunPlan, key: str, share: float, lake: Lake) -> tuple[list[str], int]:
    """What a night with this search key is, in lines, and the pairs it compares if all are compared."""
    rows = r.snapshot.rows
    base, before, why = earlier_pages(lake, plan, key)
    everything = np.ones(len(rows), dtype=np.bool_)
    full = _scores(rows, everything, r.taxonomy, plan.categories)
    if base is not None and before is not None:
        found = _compare(rows, before, load_states(lake, base.plan.run_id))
        told = (
            f"{found.new:,} products are new, {found.photo:,} have another photo, {found.moved:,} moved to another "
            f"category, department or group, {found.gone:,} are gone"
        )
        if found.fresh.sum() <= share * len(rows):
            cost = _scores(rows, found.fresh, r.taxonomy, plan.categories)
            of_full = f"{cost / max(1, full):.1%}"
            return [
                f"complements: incremental since {base.plan.run_id}: {told}",
                f"scores: about {cost:,} of the {full:,} of a night in full ({of_full})",
            ], cost
        why = f"{told} since {base.plan.run_id}: more than {share:.0%} (lists.full_from_share)"
    return [f"complements: in full, because: {why}", f"scores: about {full:,}"], full


def _finished(r: Resolved, run_date: str, products: int) -> Iterator[str]:
    rules = active(r.rules, run_date).rules
    yield f"lists: all of {products:,} products are finished with tonight's stock, prices and rules"
    yield "rules in force: " + (", ".join(f"{x.name} ({x.verb})" for x in rules) if rules else "none")


def _compare(rows: pa.Table, before: pa.Table, states: pa.Table | None) -> _Changed:
    at = pc.index_in(rows["item_id"].combine_chunks(), value_set=before["item_id"].combine_chunks())
    known = at.is_valid().to_numpy(zero_copy_only=False)
    moved = np.zeros(len(rows), dtype=np.bool_)
    if len(before):
        old = before.take(pc.fill_null(at, 0))
        for name in ("category", "group_id"):
            moved |= ~np.asarray(pc.equal(rows[name], old[name]).to_numpy(), dtype=np.bool_)
    photo = np.zeros(len(rows), dtype=np.bool_)
    if states is not None and len(states):
        there = pc.index_in(rows["item_id"].combine_chunks(), value_set=states["item_id"].combine_chunks())
        had = states["source_fingerprint"].take(pc.fill_null(there, 0))
        same = pc.fill_null(pc.equal(rows["source_fingerprint"], had), False)
        photo = there.is_valid().to_numpy(zero_copy_only=False) & ~np.asarray(same.to_numpy(), dtype=np.bool_)
    photo &= known
    moved &= known & ~photo
    gone = len(before) - int(known.sum())
    return _Changed(int((~known).sum()), int(photo.sum()), int(moved.sum()), gone, ~known | photo | moved)


def _scores(rows: pa.Table, fresh: npt.NDArray[np.bool_], taxonomy: Taxonomy, categories: tuple[str, ...]) -> int:
    """Pairs compared: fresh pages with all their possible targets, the other pages with the new ones."""
    names, departments = list(taxonomy.categories), list(taxonomy.departments)
    c = pc.index_in(rows["category"], value_set=pa.array(names)).to_numpy()
    d = pc.index_in(rows["department"], value_set=pa.array(departments)).to_numpy()
    shape, may = (len(names), len(departments)), allowed(taxonomy).astype(np.int64)

    def counted(which: npt.NDArray[np.bool_]) -> Counts:
        out = np.zeros(shape, dtype=np.int64)
        np.add.at(out, (c[which], d[which]), 1)
        return out

    new, all_ = counted(fresh), counted(np.ones(len(rows), dtype=np.bool_))
    total = 0
    for source in categories:
        s = names.index(source)
        for target in taxonomy.targets[source]:
            t = names.index(target)
            total += int(new[s] @ may @ all_[t] + (all_[s] - new[s]) @ may @ new[t])
    return total
