"""Recall of approximate proposals: what the stored neighbours of sampled pages hold of the best by exact search.

Computed from the products, the vectors and the masks, not from figures of the lists stage. On a night whose search was
exact there is nothing to measure: recall is 1 by construction (docs/lists.md), and the frame says so in its one row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.quality.aggregates import Frame
from jobs.quality.lists import Products, Weights, products_of
from schemas.taxonomy import Taxonomy

EXACT = "all, searched exactly"
_COLUMNS = ("category", "lists", "expected", "found", "recall")
_SCALE = 2.0**20  # the exact rule, design section 5
_ONE = 1.5 * _SCALE * _SCALE / 1e6  # in units of S: one micro-unit, for the last rounding
_CELLS = 1 << 24  # float64 scores held at once, 128 MiB

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Neighbours = Callable[[str, list[str]], pa.Table]


def exact_frame() -> Frame:
    """The frame `recall` of a night whose search was exact."""
    return Frame(pd.DataFrame([(EXACT, 0, 0, 0, 1.0)], columns=list(_COLUMNS)))


def recall_frame(
    active: pa.Table,
    neighbours: Neighbours,
    *,
    categories: Sequence[str],
    taxonomy: Taxonomy,
    weights: Weights,
    k: int,
    pages: int,
    seed: str,
) -> Frame:
    """The frame `recall`: one row a target category, over a sample of `pages` products that have a vector.

    neighbours: rows of `candidates` (item_id, target_category, neighbour_ids) of a source category's given pages.
    found ÷ expected, 0 where nothing was measured. An id counts as found where its exact score reaches the k-th best,
    so targets that tie there may stand for each other; one of another category or department never counts.
    """
    p = products_of(active, taxonomy)
    sample = _sample(p, [taxonomy.categories.index(c) for c in categories if taxonomy.targets[c]], pages, seed)
    measured: dict[str, list[int]] = {}
    departments = list(taxonomy.departments)
    may = np.array([[b in taxonomy.matrix[a] for b in departments] for a in departments])
    for category in categories:
        own = sample[p.category[sample] == taxonomy.categories.index(category)]
        if not len(own):
            continue
        rows = neighbours(category, p.ids[own].tolist())
        for target in taxonomy.targets[category]:
            listed = rows.filter(pc.equal(rows["target_category"], target))
            counts = _measure(p, own, listed, taxonomy.categories.index(target), may, weights(category, target), k)
            total = measured.setdefault(target, [0, 0, 0])
            for n, count in enumerate(counts):
                total[n] += count
    frame = [(t, n, e, f, f / e if e else 0.0) for t, (n, e, f) in measured.items() if n]
    by = pd.DataFrame(frame or [("none", 0, 0, 0, 0.0)], columns=list(_COLUMNS))
    lowest = by.sort_values("recall").head(3)
    return Frame(by, {"recall": [f"{c} {r:.3f}" for c, r in zip(lowest["category"], lowest["recall"], strict=True)]})


def overall(frame: Frame) -> tuple[float, float, int]:
    """Recall over all lists, the lowest of a target category, and how many lists were measured."""
    by = frame.data
    expected = int(by["expected"].sum())
    return (
        int(by["found"].sum()) / expected if expected else float(by["recall"].min()),
        float(by["recall"].min()),
        int(by["lists"].sum()),
    )


def _sample(p: Products, categories: list[int], pages: int, seed: str) -> Ints:
    """Rows of so many pages with a vector, drawn by the seed from the products in item_id order."""
    able = np.flatnonzero(np.isin(p.category, categories) & (p.vector_row >= 0))
    able = able[np.argsort(np.asarray(p.ids)[able], kind="stable")]
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    return np.sort(rng.choice(able, min(pages, len(able)), replace=False))


def _measure(
    p: Products, own: Ints, listed: pa.Table, target: int, may: Bools, w: npt.NDArray[np.float32], k: int
) -> tuple[int, int, int]:
    """Of these pages: lists for which there is a possible target, best k there are, and how many are listed."""
    pool = np.flatnonzero((p.category == target) & (p.vector_row >= 0))
    if not len(pool):
        return 0, 0, 0
    y = np.rint(_SCALE * p.vectors[p.vector_row[pool]].astype(np.float64)).T
    ids = dict(zip(listed["item_id"].to_pylist(), listed["neighbour_ids"].to_pylist(), strict=True))
    lists = expected = found = 0
    step = max(1, _CELLS // len(pool))
    for start in range(0, len(own), step):
        some = own[start : start + step]
        q = np.rint(_SCALE * (w.astype(np.float64) * p.vectors[p.vector_row[some]].astype(np.float64)))
        scores = q @ y
        possible = may[p.department[some]][:, p.department[pool]] & (p.group[some][:, None] != p.group[pool])
        scores[~possible] = -np.inf
        for page, row in zip(some, scores, strict=True):
            best = min(k, int(np.isfinite(row).sum()))
            if not best:
                continue
            lists += 1
            expected += best
            line = np.partition(row, len(row) - best)[len(row) - best] - _ONE
            at = p.ids.get_indexer(list(dict.fromkeys(ids.get(p.ids[page], [])))[:best])
            place = np.searchsorted(pool, at)
            known = (at >= 0) & (place < len(pool))
            known[known] = pool[place[known]] == at[known]
            found += int((row[place[known]] >= line).sum())
    return lists, expected, found
