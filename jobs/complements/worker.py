"""What a Spark worker does: its tasks one by one, from the staged galleries to data files of both tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from jobs.complements import emit
from jobs.complements.emit import Figures, Near, Rows, Slot
from jobs.complements.engine import Approximate, Kind
from jobs.complements.explore import explore_of
from jobs.complements.finish import Limits, Lists, Shelf, finish, known, no_lists
from jobs.complements.gallery import Gallery, open_gallery, open_products
from jobs.complements.score import Bools, Float32, Int64, scaled_queries
from jobs.complements.search import Base, Engine, Neighbours, Queries, neighbours
from jobs.complements.tasks import Task, Update
from jobs.complements.write import Writer, report
from jobs.lake import Lake
from schemas.rules import EMPTY, Rules
from schemas.taxonomy import Taxonomy

if TYPE_CHECKING:
    from jobs.complements.approximate import Index
    from jobs.rules.attributes import Attributes
    from jobs.rules.compile import Effects

AnyTask = Task | Update
Shares = tuple[tuple[AnyTask, ...], ...]  # the tasks of each Spark task


@dataclass(frozen=True)
class Spec:
    """All a worker must know besides its tasks; pickled once for each Spark task."""

    lake_root: str
    s3_endpoint_url: str | None
    run_id: str
    content: str  # key of the galleries' content: a worker that lives on never serves an earlier run's
    model_version: str
    taxonomy: Taxonomy = field(repr=False)
    allowed: Bools  # [page's department, product's department]
    weights: dict[tuple[str, str], Float32] = field(repr=False)
    depth: int
    limits: Limits
    base_block: int
    engine: Engine = "blas"
    written: int = 0  # of the rows that are written
    whole: bool = True  # every row is written, changed or not
    rules: Rules = EMPTY  # in force tonight
    run_date: str = ""
    approximate: Approximate | None = None  # None: every search is exact

    def slot(self, source: str, target: str) -> Slot:
        at = self.taxonomy.targets[source].index(target)
        return Slot(source, target, at, self.model_version, self.written)


def run_share(spec: Spec, tasks: Sequence[AnyTask]) -> str:
    """Do the tasks of a share and write what they give; returns a `write.report`."""
    figures, writer = Figures(), Writer(lake_of(spec), spec.model_version)
    try:
        for task in tasks:
            for rows in run_task(spec, task, figures):
                t0 = time.perf_counter()
                writer.add(rows)
                figures.write_s += time.perf_counter() - t0
        t0 = time.perf_counter()
        files = writer.close()
        figures.write_s += time.perf_counter() - t0
    except BaseException:
        writer.abandon()
        raise
    return report(files, figures)


def run_task(spec: Spec, task: AnyTask, figures: Figures) -> Iterator[Rows]:
    """Rows of one task; what it did is added to the figures."""
    if isinstance(task, Update):
        from jobs.complements.update import update

        return update(spec, task, figures)
    return search(spec, task, figures)


def search(spec: Spec, task: Task, figures: Figures) -> Iterator[Rows]:
    """Rows of one search task: all of its pages searched in full."""
    source, target = gallery_of(spec, task.source), gallery_of(spec, task.target)
    base = base_of(spec, task.target, task.department)
    shelf = target.shelf(base)
    pages = np.flatnonzero((source.department == task.department) & source.fresh)[task.start : task.stop]
    asked = source.level[pages] >= 0
    figures.full += len(pages)
    found, lists = search_pages(spec, task, source, pages[asked], shelf, figures)
    t0 = time.perf_counter()
    slot = spec.slot(task.source, task.target)
    near = emit.candidates(slot, source, target, pages[asked], near_of(found, base))  # the others ask nobody
    if not asked.all():
        lists = _spread(lists, asked, no_lists(source.group[pages], base, spec.limits.k))
    emit.count(figures, lists, source.level[pages])
    made = emit.complements(slot, source, target, pages, lists, emit.lanes(lists, target))
    figures.write_s += time.perf_counter() - t0
    yield near
    yield made


def search_pages(
    spec: Spec, task: Task, source: Gallery, pages: Int64, shelf: Shelf, figures: Figures
) -> tuple[Neighbours, Lists]:
    """Neighbours and finished lists of pages that have a query."""
    queries = queries_of(spec, task.source, task.target, source, pages)
    found = _neighbours(spec, task, queries, shelf.base, figures)
    t0 = time.perf_counter()
    effects = effects_of(spec, task.source, task.target, pages, figures)
    target = gallery_of(spec, task.target)
    explore = explore_of(spec.limits, spec.run_date, source, pages, target, task.target, shelf.base)
    lists = finish(known(found, shelf.base), queries, shelf, spec.limits, effects, explore)
    figures.finish_s += time.perf_counter() - t0
    figures.search_s += found.search_s
    figures.rescore_s += found.rescore_s
    figures.searched_exactly += int(found.exact.sum())
    figures.pairs += len(pages) * len(shelf.base)
    return found, lists


def _neighbours(spec: Spec, task: Task, queries: Queries, base: Base, figures: Figures) -> Neighbours:
    how = spec.approximate
    if how is None or (task.target, task.department) not in how.bases:
        return neighbours(queries, base, spec.depth, spec.base_block, spec.engine)
    from jobs.complements import approximate

    index = _indexed(*_base_key(spec, task.target, task.department), how.kind)
    figures.searched_approximately += len(queries)
    return approximate.neighbours(queries, base, spec.depth, index, how.kind, how.effort)


def queries_of(spec: Spec, source: str, target: str, gallery: Gallery, pages: Int64) -> Queries:
    return Queries(scaled_queries(spec.weights[source, target], gallery.vectors[pages]), gallery.group[pages])


def near_of(found: Neighbours, base: Base) -> Near:
    """Neighbours by rows of the gallery."""
    there = found.rows >= 0
    rows = np.where(there, base.rows[np.maximum(found.rows, 0)] if len(base) else -1, -1)
    return Near(rows, found.score, found.visual, found.horizon)


def effects_of(spec: Spec, source: str, target: str, pages: Int64, figures: Figures) -> Effects | None:
    """What the shop's rules make of these pages' lists for a target category."""
    if not spec.rules:
        return None
    from jobs.rules.compile import effects

    own, there = attributes_of(spec, source).take(pages), attributes_of(spec, target)
    found = effects(spec.rules, spec.run_date, own, there, spec.allowed, spec.limits.k)
    if found is not None:
        figures.pins_dropped += sum(i.page_count for i in found.ineligible)
    return found


def _spread(lists: Lists, has: Bools, empty: Lists) -> Lists:
    """Lists of pages with a query, put between the empty ones of those without."""
    for name in ("rows", "score", "visual", "reason", "size", "feasible", "certain", "refilled"):
        getattr(empty, name)[has] = getattr(lists, name)
    return empty


# --- what a worker process keeps: galleries are memory-mapped, bases are copies of their allowed rows ---------


def gallery_of(spec: Spec, category: str) -> Gallery:
    return opened_gallery(gallery_key(spec, category))


def gallery_key(spec: Spec, category: str) -> GalleryKey:
    n = spec.taxonomy.categories.index(category)
    return spec.lake_root, spec.s3_endpoint_url, spec.run_id, spec.content, n


def opened_gallery(key: GalleryKey) -> Gallery:
    return _opened(*key)


def base_of(spec: Spec, category: str, department: int) -> Base:
    """Possible targets of a category for the pages of a department."""
    return _built(*_base_key(spec, category, department))


def arrived_of(spec: Spec, category: str, department: int) -> Base:
    """Those of them that the lists of the other pages do not know yet."""
    return _new(*_base_key(spec, category, department))


def attributes_of(spec: Spec, category: str) -> Attributes:
    return _attributes(spec.lake_root, spec.s3_endpoint_url, spec.run_id, spec.content, _Hashless(spec.taxonomy))[
        category
    ]


def lake_of(spec: Spec) -> Lake:
    return Lake(spec.lake_root, s3_endpoint_url=spec.s3_endpoint_url)


GalleryKey = tuple[str, str | None, str, str, int]


def _base_key(spec: Spec, category: str, department: int) -> tuple[GalleryKey, tuple[bool, ...]]:
    flags = tuple(bool(b) for b in spec.allowed[department])
    return gallery_key(spec, category), flags


class _Hashless:
    """A value that takes part in no cache key: the run's content stands for it."""

    def __init__(self, value: Taxonomy) -> None:
        self.value = value

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashless)


@lru_cache(maxsize=64)
def _opened(root: str, endpoint: str | None, run_id: str, content: str, n: int) -> Gallery:
    return open_gallery(Lake(root, s3_endpoint_url=endpoint), run_id, n)


@lru_cache(maxsize=2)  # tasks come by target and department
def _built(key: GalleryKey, flags: tuple[bool, ...]) -> Base:
    return _opened(*key).base(np.array(flags))


@lru_cache(maxsize=1)  # likewise; as large as its base, and more
def _indexed(key: GalleryKey, flags: tuple[bool, ...], kind: Kind) -> Index:
    from jobs.complements import approximate

    return approximate.build(_built(key, flags), kind)


@lru_cache(maxsize=64)  # a hundredth of the bases
def _new(key: GalleryKey, flags: tuple[bool, ...]) -> Base:
    g = _opened(*key)
    return g.base(np.array(flags), g.arrived)


@lru_cache(maxsize=1)
def _attributes(
    root: str, endpoint: str | None, run_id: str, content: str, taxonomy: _Hashless
) -> dict[str, Attributes]:
    from jobs.rules.attributes import attributes

    return attributes(open_products(Lake(root, s3_endpoint_url=endpoint), run_id), taxonomy.value)
