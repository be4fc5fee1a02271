"""Triplets from outfits: anchor and positive worn together, negatives of the positive's product type.

Negatives are drawn in proportion to how often an item is used in outfits, so that popularity tells a
positive from a negative no better than chance; the same rule as the plain (matched) question files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medal_model.outfits import Item

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Triplets:
    """Row numbers: anchor [N], positive [N], negatives [N, K]."""

    anchor: Ints
    positive: Ints
    negative: Ints


class TripletSampler:
    """All ordered pairs of each outfit, with fresh negatives on every draw.

    Pairs whose positive has no possible negative are left out and counted in `without_negative`.
    """

    def __init__(self, outfits: Sequence[Sequence[str]], items: Mapping[str, Item], rows: Mapping[str, int]) -> None:
        """`rows` gives each item id its row number. Raises ValueError where no triplet can be made."""
        self._use = Counter(rows[i] for outfit in outfits for i in outfit)
        self._together: defaultdict[int, set[int]] = defaultdict(set)
        pairs: list[tuple[int, int]] = []
        for outfit in outfits:
            own = [rows[i] for i in outfit]
            for a in own:
                self._together[a].update(own)  # a itself included: an anchor is never its own negative
                pairs.extend((a, p) for p in own if p != a)
        kind = {rows[i]: items[i].product_type for outfit in outfits for i in outfit}
        pools: defaultdict[str, list[int]] = defaultdict(list)
        for row in sorted(kind):
            pools[kind[row]].append(row)
        self._pool = {k: np.array(v, dtype=np.int64) for k, v in pools.items()}
        self._cumulative = {
            k: np.cumsum([self._use[int(r)] for r in v]).astype(np.float64) for k, v in self._pool.items()
        }
        self._kind = kind
        kept = [(a, p) for a, p in pairs if not set(pools[kind[p]]) <= self._together[a]]
        self.without_negative = len(pairs) - len(kept)
        if not kept:
            raise ValueError(f"{len(pairs)} pairs of {len(outfits)} outfits give no triplet with a negative")
        self._anchor = np.array([a for a, _ in kept], dtype=np.int64)
        self._positive = np.array([p for _, p in kept], dtype=np.int64)
        self._by_kind = {k: np.array(ns, dtype=np.int64) for k, ns in self._grouped().items()}
        width = int(max(rows.values())) + 1
        met = [a * width + b for a, others in self._together.items() for b in others]
        self._width, self._met = width, np.unique(np.array(met, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._anchor)

    def draw(self, negatives: int, rng: np.random.Generator) -> Triplets:
        """One epoch in random order: every pair once, with `negatives` each."""
        chosen = np.empty((len(self), negatives), dtype=np.int64)
        for kind, where in self._by_kind.items():
            chosen[where] = self._negatives(kind, self._anchor[where], negatives, rng)
        order = rng.permutation(len(self))
        return Triplets(self._anchor[order], self._positive[order], chosen[order])

    def _grouped(self) -> dict[str, list[int]]:
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for n, p in enumerate(self._positive):
            groups[self._kind[int(p)]].append(n)
        return groups

    def _negatives(self, kind: str, anchors: Ints, k: int, rng: np.random.Generator) -> Ints:
        """Drawn by use, redrawn where anchor and negative were worn together."""
        pool, cumulative = self._pool[kind], self._cumulative[kind]
        flat = np.repeat(anchors, k)
        drawn = np.empty_like(flat)
        open_ = np.arange(len(flat))
        for _ in range(8):
            spots = np.searchsorted(cumulative, rng.random(len(open_)) * cumulative[-1], side="right")
            drawn[open_] = pool[spots]
            open_ = open_[self._worn_together(flat[open_], drawn[open_])]
            if not len(open_):
                break
        for n in open_:  # unlucky eight times: drawn from the exact remainder
            free = np.array([r for r in pool if int(r) not in self._together[int(flat[n])]], dtype=np.int64)
            use = np.array([self._use[int(r)] for r in free], dtype=np.float64)
            drawn[n] = rng.choice(free, p=use / use.sum())
        return drawn.reshape(len(anchors), k)

    def _worn_together(self, left: Ints, right: Ints) -> npt.NDArray[np.bool_]:
        """Did the two stand in one outfit (or are they one item)? Rows [N] and [N] to bool [N]."""
        keys = left * self._width + right
        at = np.searchsorted(self._met, keys)
        return np.asarray(self._met[np.minimum(at, len(self._met) - 1)] == keys)
