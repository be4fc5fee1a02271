"""Retrieval: does the item that completes an outfit stand among the first k of its pool?

Queries are the fill-in-the-blank questions, one an outfit: the question's items ask, the right answer is sought, the
wrong answers play no part. The pool is one of

- `fine`: items of the answer's product type; the right answers, then the other items of the part's outfits, then
  those of train, until 3,000 or all there are (Lin et al., CVPR 2020, section 4.2; there only types with 3,000);
- `type`: all items of the answer's category in the part's outfits.

Where more items could fill a pool than fit, a seeded draw decides. The query's own items are taken out of its pool.
With r items strictly better and t tied (the right one included), an answer counts its chance to stand within the
first k, clip((k - r) / t, 0, 1). Small pools are easy, so each figure stands beside that of a constant score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medal_model.outfits import Outfits
from medal_model.scorers import Floats, Ints, PoolScorer

Pool = Literal["fine", "type"]
KS = (10, 30, 50)
LIMIT = 3000
_AT_ONCE = 512  # queries a matrix product


@dataclass(frozen=True)
class RetrievalTask:
    """Queries and pools of one part, by row number; made once, asked of every scorer.

    `outfits` and `answers` [Q] are in question order, `category` [Q] numbers `names`; `pools` has one pool a name.
    """

    pool: Pool
    part: str
    seed: int
    limit: int
    outfits: tuple[Ints, ...]
    answers: Ints
    category: Ints
    names: tuple[str, ...]
    pools: tuple[Ints, ...]

    @property
    def rule(self) -> str:
        """The pool rule in words."""
        if self.pool == "type":
            return f"all items of the answer's category in {self.part} outfits"
        return (
            f"items of the answer's product type, {self.part} then train, to {self.limit:,} or all there are"
            f" (seed {self.seed})"
        )


@dataclass(frozen=True)
class Retrieved:
    """What each query is worth at each k [Q], and what it is worth under a constant score [Q]."""

    task: RetrievalTask
    hits: Mapping[int, Floats]
    chance: Mapping[int, Floats]

    def micro(self, k: int) -> float:
        """Mean over queries."""
        return float(self.hits[k].mean())

    def macro(self, k: int) -> float:
        """Mean over categories of the mean over their queries."""
        own = self.hits[k]
        return float(np.mean([own[self.task.category == c].mean() for c in range(len(self.task.names))]))


def retrieval_task(
    outfits: Outfits, part: str, rows: Mapping[str, int], pool: Pool, *, seed: int = 0, limit: int = LIMIT
) -> RetrievalTask:
    """Queries and pools of `valid` or `test`. Raises ValueError for no question, or an item without a row."""
    questions = outfits.questions[part]
    if not questions:
        raise ValueError(f"{part} has no questions: nothing to retrieve")
    group = _product_type if pool == "fine" else _category
    sought = [q.answers[q.right] for q in questions]
    names = tuple(sorted({group(outfits, i) for i in sought}))
    tiers = [sorted(set(sought)), _used(outfits, part), _used(outfits, "train") if pool == "fine" else []]
    rng = np.random.default_rng(seed)
    filled: defaultdict[str, dict[str, None]] = defaultdict(dict)  # insertion order is the fill order
    for tier in tiers:
        for n in rng.permutation(len(tier)):
            filled[group(outfits, tier[n])].setdefault(tier[n])
    cut = limit if pool == "fine" else len(outfits.items)
    number = {name: n for n, name in enumerate(names)}
    try:
        return RetrievalTask(
            pool,
            part,
            seed,
            limit,
            tuple(np.array([rows[i] for i in q.outfit], dtype=np.int64) for q in questions),
            np.array([rows[i] for i in sought], dtype=np.int64),
            np.array([number[group(outfits, i)] for i in sought], dtype=np.int64),
            names,
            tuple(np.array([rows[i] for i in list(filled[n])[:cut]], dtype=np.int64) for n in names),
        )
    except KeyError as e:
        raise ValueError(f"item {e} has no vector") from e


def retrieve(task: RetrievalTask, scorer: PoolScorer, ks: Sequence[int] = KS) -> Retrieved:
    """Ask every query: one matrix product a pool and 512 queries."""
    better, tied, sizes = (np.zeros(len(task.answers)) for _ in range(3))
    for c, pool in enumerate(task.pools):
        own = np.flatnonzero(task.category == c)
        for at in (own[i : i + _AT_ONCE] for i in range(0, len(own), _AT_ONCE)):
            # Rounded as outfit scores are: equal scores summed in another order must tie.
            scores = np.round(scorer.against([task.outfits[q] for q in at], pool), 9)
            scores[_asked(task, at, pool)] = -np.inf
            where = _positions(pool, task.answers[at])
            right = scores[np.arange(len(at)), where][:, None]
            better[at], tied[at] = (scores > right).sum(1), (scores == right).sum(1)
            sizes[at] = np.isfinite(scores).sum(1)
    hits = {k: np.clip((k - better) / tied, 0.0, 1.0) for k in ks}
    return Retrieved(task, hits, {k: np.minimum(1.0, k / sizes) for k in ks})


def ranking(scorer: PoolScorer, outfit: Ints, pool: Ints, k: int, true: int = -1) -> tuple[Ints, Floats]:
    """The k best rows of a pool for an outfit and their scores, best first, ties by row; its own items left out, but
    for the right answer `true`, as in `retrieve`."""
    pool = np.setdiff1d(pool, outfit[outfit != true])  # sorted, so that a stable sort breaks ties by row
    scores = np.round(scorer.against([outfit], pool)[0], 9)
    best = np.argsort(-scores, kind="stable")[:k]
    return pool[best], scores[best]


def _asked(task: RetrievalTask, at: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
    """Which pool items [Q, P] stand in the query's own outfit; the right answer itself stays."""
    spot = {int(row): n for n, row in enumerate(pool)}
    out = np.zeros((len(at), len(pool)), dtype=bool)
    for n, q in enumerate(at):
        for row in task.outfits[q]:
            if (p := spot.get(int(row))) is not None and row != task.answers[q]:
                out[n, p] = True
    return out


def _positions(pool: Ints, rows: Ints) -> Ints:
    order = np.argsort(pool)
    return np.asarray(order[np.searchsorted(pool, rows, sorter=order)], dtype=np.int64)


def _used(outfits: Outfits, split: str) -> list[str]:
    return sorted({i for outfit in outfits.sets[split] for i in outfit})


def _product_type(outfits: Outfits, item_id: str) -> str:
    return outfits.items[item_id].product_type


def _category(outfits: Outfits, item_id: str) -> str:
    return outfits.items[item_id].category
