"""The plan of a search: which tasks there are, what they cost, and which Spark partition gets which.

A task is source category × source department × target category × a block of queries. It walks over the blocks of
its base one after the other and merges their partial results as they come (`search.propose`): a base block that
were a task of its own would send every partial result through a shuffle, 1.7 GB at 200,000 products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.complements.gallery import Gallery
from schemas.taxonomy import Taxonomy

# Cost of a query besides one base row's, in base rows: re-scoring 80 gathered rows and writing a list.
QUERY_COST = 3000
_UPDATE_COST = 1000  # reading a known list, finishing and comparing it, in the same unit
TASK_COST = 20_000  # a FAISS call and a record batch, in the same unit
_SHARE_COST = 10_000_000  # about half a second of work: a smaller share costs Spark more than it saves


@dataclass(frozen=True)
class Task:
    """Lists of some products of a category and department for one slot."""

    source: str
    target: str
    slot: int
    department: int  # of the pages, place in the taxonomy
    start: int  # queries: this part of the source gallery's fresh rows of that department
    stop: int
    base_rows: int
    base_blocks: int
    cost: float

    @property
    def pairs(self) -> int:
        return (self.stop - self.start) * self.base_rows


@dataclass(frozen=True)
class Update:
    """Known lists of a source category brought up to date: the rows of some files of `candidates`."""

    source: str
    files: tuple[str, ...]  # of candidates, relative to the table
    lists_files: tuple[str, ...]  # of complements: all of the category
    neighbour_files: tuple[str, ...]  # of candidates: all of the category, to tell which rows of a key hold
    lead: bool  # this one also says which lists of `complements` are no more
    cost: float
    pairs: int = 0


def allowed(taxonomy: Taxonomy) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """[page's department, product's department] → may stand on the page. Departments in taxonomy order."""
    names = list(taxonomy.departments)
    return np.array([[b in taxonomy.matrix[a] for b in names] for a in names], dtype=np.bool_)


def plan_tasks(
    all_: Mapping[str, Gallery],
    taxonomy: Taxonomy,
    categories: Sequence[str],
    query_block: int,
    base_block: int,
) -> list[Task]:
    """Every search of a run whose lists are those of `categories`: by source, target, department, block.

    Of fresh pages alone: on an incremental night the others are brought up to date (`Update`)."""
    may = allowed(taxonomy)
    n = len(taxonomy.departments)
    products = {c: np.bincount(g.department[g.fresh], minlength=n) for c, g in all_.items()}
    targets = {c: np.bincount(g.department[g.has_vector], minlength=n) for c, g in all_.items()}
    out = []
    for source in categories:
        for slot, target in enumerate(taxonomy.targets[source]):
            for department in range(n):
                base = int(targets[target][may[department]].sum())
                total = int(products[source][department])
                for start in range(0, total, query_block):
                    stop = min(total, start + query_block)
                    cost = (stop - start) * (base + QUERY_COST) + TASK_COST
                    blocks = -(-base // base_block)
                    out.append(Task(source, target, slot, department, start, stop, base, blocks, cost))
    return out


def plan_updates(
    files: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    all_: Mapping[str, Gallery],
    taxonomy: Taxonomy,
    categories: Sequence[str],
) -> list[Update]:
    """The updates of known lists: one a file of `candidates`, so that they spread over the cores.

    `files`: by source category those of `candidates` and of `complements`.
    """
    out = []
    for source in categories:
        neighbours, lists = (tuple(own) for own in files[source])
        slots = len(taxonomy.targets[source])
        if not neighbours and not lists:
            continue
        arrived = sum(int(all_[t].arrived.sum()) for t in taxonomy.targets[source]) / max(1, slots)
        cost = len(all_[source]) * slots * (_UPDATE_COST + arrived) + TASK_COST
        for n, name in enumerate(neighbours or ("",)):
            mine = (name,) if name else ()
            out.append(Update(source, mine, lists, neighbours, n == 0, cost / max(1, len(neighbours))))
    return out


def partitions_for(tasks: Sequence[Task | Update], cores: int) -> int:
    """Shares where the settings name no number: four for each core, so that they end together and progress shows."""
    return max(1, min(4 * cores, round(sum(t.cost for t in tasks) / _SHARE_COST)))


def deal(tasks: Sequence[Task | Update], partitions: int) -> tuple[tuple[Task | Update, ...], ...]:
    """Tasks in at most `partitions` shares of about equal cost.

    Neighbours in the plan stay together, so that a share holds few source categories (each becomes a file of the
    table) and, within one, is ordered by target (whose base is then built once).
    """
    if not tasks:
        return ()
    after = np.cumsum([t.cost for t in tasks])
    middle = after - np.array([t.cost for t in tasks]) / 2
    share = np.minimum((middle / after[-1] * partitions).astype(int), partitions - 1)
    shares = [[t for t, s in zip(tasks, share, strict=True) if s == i] for i in range(partitions)]
    # The largest first, so that all cores end together.
    shares.sort(key=lambda s: -sum(t.cost for t in s))
    return tuple(tuple(sorted(s, key=_order)) for s in shares if s)


def _order(task: Task | Update) -> tuple[str, int]:
    return ("", 0) if isinstance(task, Update) else (task.target, task.department)
