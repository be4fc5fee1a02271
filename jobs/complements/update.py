"""Known lists brought up to date: the rows of a category that an earlier night left, and what is new tonight.

For every page that asks as it did before: neighbours that are possible no more are struck, new targets above the
horizon are put in, and the list is finished with tonight's stock, prices and rules. What comes out equals a search in
full on what is published (design section 5): every possible target above the horizon is among the neighbours, before
and after, and `finish` uses nothing below it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from jobs.complements import emit
from jobs.complements.before import ARRIVED, GONE, Published, Stored, earlier, stored
from jobs.complements.emit import Figures, Near, Rows
from jobs.complements.explore import explore_of
from jobs.complements.finish import Known, finish
from jobs.complements.gallery import Gallery
from jobs.complements.score import (
    INT32_MIN,
    SCALE,
    Bools,
    Float32,
    Float64,
    Int32,
    Int64,
    micro,
    order_keys,
    proposal_error,
    row_of_key,
)
from jobs.complements.search import NONE, Base, Queries, neighbours
from jobs.complements.tasks import Update
from jobs.complements.worker import Spec, arrived_of, base_of, effects_of, gallery_of, lake_of, near_of, queries_of
from medal_model.compiled import compiled
from schemas.tables import VISUAL_DIM

_CELLS = 1 << 23  # float32 scores of pages × new targets held at once


def update(spec: Spec, task: Update, figures: Figures) -> Iterator[Rows]:
    """Changed rows of one task."""
    t0 = time.perf_counter()
    source = gallery_of(spec, task.source)
    was = earlier(spec, task)
    figures.read_s += time.perf_counter() - t0
    if task.lead and not spec.whole:
        yield from was.lists.departed(spec, task.source)
    for name in task.files:
        for some in stored(lake_of(spec), name, was.holds[name], source, figures):
            yield from _brought(spec, task.source, source, some, was.lists, figures)


def _brought(
    spec: Spec, category: str, source: Gallery, stored: Stored, lists: Published, figures: Figures
) -> Iterator[Rows]:
    for target, at in stored.by_target():
        if target not in spec.taxonomy.targets[category]:
            continue
        pages = stored.pages[at]
        slot = spec.slot(category, target)
        # A page that is there no more, or asks no more, has no neighbours; its lists are `Published.departed`'s.
        gone = (pages < 0) | (source.level[np.maximum(pages, 0)] < 0) if len(source) else pages < 0
        if gone.any() and not spec.whole:
            yield emit.removed("candidates", slot, stored.ids.take(pa.array(at[gone])))
        kept = ~gone & ~source.fresh[np.maximum(pages, 0)] if len(source) else ~gone
        there = gallery_of(spec, target)
        rows_of = stored.rows_of(there)
        for department in np.unique(source.department[pages[kept]]):
            own = at[kept & (source.department[np.maximum(pages, 0)] == department)]
            yield from _department(spec, slot, source, there, int(department), stored, own, rows_of, lists, figures)


def _department(
    spec: Spec, slot: emit.Slot, source: Gallery, target: Gallery, department: int, stored: Stored, at: Int64,
    rows_of: Int64, lists: Published, figures: Figures,
) -> list[Rows]:  # fmt: skip
    """Changed rows of the pages of one department for one slot."""
    pages = stored.pages[at]
    base = base_of(spec, slot.target, department)
    queries = queries_of(spec, slot.source, slot.target, source, pages)
    t0 = time.perf_counter()
    keys, score, visual, wrong = _known(
        stored.offsets, at, stored.neighbours, rows_of, stored.scores, stored.visuals, spec.depth
    )
    have = Known(keys, score, visual, stored.horizon[at].copy())
    t1 = time.perf_counter()
    entered = insert(have, queries, arrived_of(spec, slot.target, department), figures)
    thin = np.flatnonzero((have.horizon != INT32_MIN) & ((have.keys != NONE).sum(axis=1) < spec.depth // 2))
    if len(thin):  # struck until little was left: searched again, before lists begin to run out one by one
        found = neighbours(queries.take(thin), base, spec.depth, spec.base_block, spec.engine)
        near = near_of(found, base)
        have.keys[thin] = np.where(near.rows >= 0, order_keys(near.score, np.maximum(near.rows, 0)), NONE)
        have.score[thin], have.visual[thin], have.horizon[thin] = near.score, near.visual, near.horizon
        figures.full += len(thin)
        figures.pairs += len(thin) * len(base)
        figures.rescore_s += found.rescore_s
    t2 = time.perf_counter()
    effects = effects_of(spec, slot.source, slot.target, pages, figures)
    explore = explore_of(spec.limits, spec.run_date, source, pages, target, slot.target, base)
    finished = finish(have, queries, target.shelf(base), spec.limits, effects, explore)
    emit.count(figures, finished, source.level[pages])
    hashed = emit.lanes(finished, target)
    other = lists.differ(pages, slot, finished.size, finished.feasible, source.level[pages], hashed)
    moved = wrong | entered
    moved[thin] = True
    if spec.whole:
        moved[:] = other[:] = True
    t3 = time.perf_counter()
    figures.read_s += t1 - t0
    figures.search_s += t2 - t1
    figures.finish_s += t3 - t2
    made = []
    if moved.any():
        own = have.take(np.flatnonzero(moved))
        near = Near(np.where(own.keys != NONE, row_of_key(own.keys), -1), own.score, own.visual, own.horizon)
        made.append(emit.candidates(slot, source, target, pages[moved], near))
    if other.any():
        own_lists = finished.take(np.flatnonzero(other))
        made.append(emit.complements(slot, source, target, pages[other], own_lists, hashed[other]))
    figures.write_s += time.perf_counter() - t3
    return made


def insert(have: Known, queries: Queries, new: Base, figures: Figures) -> Bools:
    """Put every new target above its page's horizon into `have`; which pages got one.

    float32 products propose: a new target is scored exactly where its product is within the error of the horizon, or
    above (score.proposal_error; micro(S) > h needs S ≥ (h + 1/2) · 2^40 / 10^6).
    """
    n, m = len(queries), len(new)
    entered = np.zeros(n, dtype=np.bool_)
    if n == 0 or m == 0:
        return entered
    figures.pairs += n * m
    line = (have.horizon.astype(np.float64) + 0.5) * (SCALE * SCALE / 1e6) - proposal_error(queries.q, new.norm)
    line32 = np.nextafter(line.astype(np.float32), np.float32(-np.inf))
    q32, across = queries.q.astype(np.float32), np.ascontiguousarray(new.scaled.T)
    step = max(1, _CELLS // m)
    for a in range(0, n, step):
        i, j = np.nonzero(q32[a : a + step] @ across >= line32[a : a + step, None])
        if not len(i):
            continue
        i += a
        total, part = _pair_sums(queries.q, new.scaled, i, j)
        score, visual = micro(total), micro(part)
        keep = (score > have.horizon[i]) & (new.group[j] != queries.group[i])
        keep |= (have.horizon[i] == INT32_MIN) & (new.group[j] != queries.group[i])
        i, keys, visual = i[keep], order_keys(score[keep], new.rows[j[keep]]), visual[keep]
        order = np.lexsort((keys, i))
        _merge(have.keys, have.score, have.visual, have.horizon, i[order], keys[order], visual[order])
        entered[i] = True
        figures.inserted += len(i)
    return entered


@compiled()
def _known(
    offsets: Int64, at: Int64, neighbours: Int32, rows_of: Int64, scores: Int32, visuals: Int32, depth: int
) -> tuple[Int64, Int32, Int32, Bools]:
    """Stored neighbours of rows `at` as keys, scores and visual parts [N, depth]; and where a stored one is wrong.

    One that is possible no more may stay in the table: it is struck every night, until it arrives again (and then it
    is wrong), or the row is written for another reason.
    """
    keys = np.full((len(at), depth), 0x7FFFFFFFFFFFFFFF, dtype=np.int64)
    score = np.zeros((len(at), depth), dtype=np.int32)
    visual = np.zeros((len(at), depth), dtype=np.int32)
    wrong = np.zeros(len(at), dtype=np.bool_)
    for i in range(len(at)):
        n = 0
        for e in range(offsets[at[i]], offsets[at[i] + 1]):
            row = rows_of[neighbours[e]]
            if row == ARRIVED:
                wrong[i] = True
            elif row != GONE and n < depth:
                keys[i, n] = (-np.int64(scores[e]) << 32) | row
                score[i, n], visual[i, n] = scores[e], visuals[e]
                n += 1
    return keys, score, visual, wrong


@compiled()
def _pair_sums(q: Float64, base: Float32, i: Int64, j: Int64) -> tuple[Float64, Float64]:
    """S and its visual part for pairs of a query and a base row: exact, as sums of integers below 2^53."""
    total, part = np.empty(len(i)), np.empty(len(i))
    for n in range(len(i)):
        x, y = q[i[n]], base[j[n]]
        v, c = 0.0, 0.0
        for d in range(VISUAL_DIM):
            v += x[d] * np.float64(y[d])
        for d in range(VISUAL_DIM, len(x)):
            c += x[d] * np.float64(y[d])
        total[n], part[n] = v + c, v
    return total, part


@compiled()
def _merge(
    keys: Int64, score: Int32, visual: Int32, horizon: Int32, i: Int64, new: Int64, new_visual: Int32
) -> None:  # fmt: skip
    """Put new keys (by page, ascending) into their pages' rows, in place; what falls out is a full row's horizon."""
    depth = keys.shape[1]
    for n in range(len(i)):
        page, key = i[n], new[n]
        if key > keys[page, depth - 1]:  # behind a full row
            horizon[page] = max(horizon[page], -(key >> 32))
            continue
        last = keys[page, depth - 1]
        if last != 0x7FFFFFFFFFFFFFFF:
            horizon[page] = max(horizon[page], -(last >> 32))
        p = depth - 1
        while p > 0 and keys[page, p - 1] > key:
            keys[page, p], score[page, p], visual[page, p] = keys[page, p - 1], score[page, p - 1], visual[page, p - 1]
            p -= 1
        keys[page, p], score[page, p], visual[page, p] = key, -(key >> 32), new_visual[n]
