"""Exact or approximate: which search tonight's lists come from, and which bases get an index.

Exact search is the default and the promise (docs/lists.md). An approximate one is used where the settings ask for it
(`lists.engine: ivf` or `hnsw`), or where an exact night would compare more pairs than `lists.exact_pairs` and
`lists.beyond` names one. Decided by the driver from settings and counts alone: same inputs, same choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from jobs.complements.gallery import Gallery
from jobs.complements.tasks import QUERY_COST, TASK_COST, Task, Update, allowed
from jobs.settings import ListSettings
from schemas.taxonomy import Taxonomy

Kind = Literal["ivf", "hnsw"]
# An index is built where at least so many pages ask it tonight; below that, building costs more than it saves (one
# core: 77 and 240 µs a row to build, 2.7 ns a pair of exact search). The pages are then searched exactly.
LEAST_QUERIES: dict[Kind, int] = {"ivf": 100_000, "hnsw": 200_000}
_ROOT_COST = 280  # a query of an index costs as much as so many roots of its rows do in exact search, as measured


@dataclass(frozen=True)
class Approximate:
    """What a worker must know: which kind of index, how hard it looks, and the bases that have one."""

    kind: Kind
    effort: float
    bases: frozenset[tuple[str, int]]  # target category, place of the page's department


@dataclass(frozen=True)
class Choice:
    """A search that tonight's lists may come from."""

    kind: Kind | None = None  # None: exact
    effort: float = 1.0
    exact_rows: int = 0
    why: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.kind or "exact"

    @property
    def stamp(self) -> list[object]:
        """What the neighbours of an approximate search rest on besides the rest; nothing for an exact one, whoever
        proposes."""
        return [self.kind, self.effort, self.exact_rows] if self.kind else []

    def approximate(self, tasks: Sequence[Task | Update]) -> Approximate | None:
        """The bases that get an index tonight: large, and asked often enough. None for an exact search."""
        if self.kind is None:
            return None
        asked: dict[tuple[str, int], int] = defaultdict(int)
        for t in tasks:
            if isinstance(t, Task) and t.base_rows > self.exact_rows:
                asked[t.target, t.department] += t.stop - t.start
        least = LEAST_QUERIES[self.kind]
        return Approximate(self.kind, self.effort, frozenset(b for b, n in asked.items() if n >= least))


def choices(lists: ListSettings) -> tuple[Choice, ...]:
    """The searches the settings allow, the one to prefer first; the last one is taken whatever it costs."""
    if lists.engine in ("ivf", "hnsw"):
        return (Choice(lists.engine, lists.effort, lists.exact_rows, "asked for (lists.engine)"),)
    exact = Choice(why=f"{lists.engine} proposes")
    if lists.beyond == "exact":
        return (exact,)
    why = f"an exact night would compare more than {lists.exact_pairs:,} pairs (lists.exact_pairs)"
    return exact, Choice(lists.beyond, lists.effort, lists.exact_rows, why)


def priced(tasks: Sequence[Task | Update], approximate: Approximate | None) -> list[Task | Update]:
    """The tasks with the cost they have where their base has an index, by target, so that few workers build each."""
    if approximate is None:
        return list(tasks)
    out = []
    for t in tasks:
        if isinstance(t, Task) and (t.target, t.department) in approximate.bases:
            rows = min(t.base_rows, int(_ROOT_COST * approximate.effort * t.base_rows**0.5))
            t = replace(t, cost=(t.stop - t.start) * (rows + QUERY_COST) + TASK_COST)
        out.append(t)
    return sorted(out, key=lambda t: ("", 0) if isinstance(t, Update) else (t.target, t.department))


def night_pairs(all_: Mapping[str, Gallery], taxonomy: Taxonomy, categories: Sequence[str]) -> int:
    """Pairs that an exact night compares: fresh pages with all their possible targets, the others with the new ones."""
    n, may = len(taxonomy.departments), allowed(taxonomy).astype(np.int64)

    def counted(category: str, flags: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        g = all_[category]
        return np.bincount(g.department[getattr(g, flags)], minlength=n)

    total = 0
    for source in categories:
        fresh = counted(source, "fresh")
        known = np.bincount(all_[source].department, minlength=n) - fresh
        for target in taxonomy.targets[source]:
            total += int(fresh @ may @ counted(target, "has_vector") + known @ may @ counted(target, "arrived"))
    return total
