"""Which categories are worn together: the order of a page's slots, learnt from outfits.

The statistic is P(target | source): of the outfits that have the source category, the share that has the target too.
Who reads slots from the top and wants what completes an outfit is served best in descending order of the chance that
the outfit has it, for every number of slots looked at (the probability ranking principle). Lift, P(target | source) /
P(target), ranks by surprise instead: it puts the rarest category first (hats beside scarves) and was the worst of the
orders compared on held-out outfits (docs/lists.md).

A share of few outfits is drawn towards the category's share of all outfits, as if `PRIOR` more outfits had been seen:

    (outfits with both + PRIOR · P(target)) / (outfits with the source + PRIOR)

So a source without outfits takes the overall order, and a pair never seen stands by how common its target is. An outfit
counts once a pair, however many pieces of a category it has: three rings are no three reasons for jewellery.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.slot_order import SlotOrder
from schemas.taxonomy import Taxonomy

if TYPE_CHECKING:
    from medal_model.outfits import Outfits

PRIOR = 10.0
Kinds = frozenset[str]  # the categories of an outfit


@dataclass(frozen=True)
class Learnt:
    """An order with the counts it comes from."""

    order: Mapping[str, tuple[str, ...]]
    outfits: int
    having: Mapping[str, int]  # outfits that have the category
    both: Mapping[tuple[str, str], int]
    prior: float
    digest: str  # sha256 of the category sets

    def share(self, source: str, target: str) -> float:
        """P(target | source), smoothed."""
        overall = self.having.get(target, 0) / self.outfits
        return (self.both.get((source, target), 0) + self.prior * overall) / (self.having.get(source, 0) + self.prior)


def kinds_of(outfits: Outfits, part: str) -> tuple[Kinds, ...]:
    return tuple(frozenset(outfits.items[i].category for i in outfit) for outfit in outfits.sets[part])


def learn(kinds: Sequence[Kinds], taxonomy: Taxonomy, prior: float = PRIOR) -> Learnt:
    """The order of every source's slots. Ties, and targets that no outfit has, keep the taxonomy's order, last.

    A source without a target that some outfit has is left out. Raises ValueError without an outfit of two categories
    of the taxonomy.
    """
    having = Counter(c for outfit in kinds for c in outfit)
    both = Counter((s, t) for outfit in kinds for s in outfit for t in outfit if s != t)
    if not any(both.get(pair) for pair in taxonomy.pairs()):
        raise ValueError("no outfit has two categories of which one is a target of the other")
    text = "\n".join(sorted(" ".join(sorted(outfit)) for outfit in kinds))
    found = Learnt({}, len(kinds), dict(having), dict(both), prior, hashlib.sha256(text.encode()).hexdigest())
    order = {}
    for source in taxonomy.categories:
        seen = [t for t in taxonomy.targets[source] if having.get(t)]
        if seen and (prior > 0 or having.get(source)):
            order[source] = tuple(sorted(seen, key=lambda t: -found.share(source, t)))
    return Learnt(order, found.outfits, found.having, found.both, prior, found.digest)


def mean_place(kinds: Iterable[Kinds], taxonomy: Taxonomy) -> float | None:
    """The mean place, from 1, of the slots whose category the outfit has: over outfits, each of their categories being
    the source once. None where no outfit has a source and a target."""
    total, n = 0.0, 0
    for outfit in kinds:
        for source in outfit:
            if places := [p for p, t in enumerate(taxonomy.targets.get(source, ()), start=1) if t in outfit]:
                total, n = total + sum(places) / len(places), n + 1
    return total / n if n else None


def to_json(learnt: Learnt, taxonomy: Taxonomy, source: str, held_out: tuple[str, Sequence[Kinds]] | None) -> str:
    """The file: one line a target, as people review it. `source` and the name in `held_out` say which outfits."""
    about: dict[str, Any] = {
        "from": source, "sha256": learnt.digest, "outfits": learnt.outfits, "prior_outfits": learnt.prior,
    }  # fmt: skip
    if held_out is not None and (by_taxonomy := mean_place(held_out[1], taxonomy)) is not None:
        by_order = mean_place(held_out[1], SlotOrder(learnt.order).applied(taxonomy))
        assert by_order is not None
        about["held_out"] = {
            "from": held_out[0], "outfits": len(held_out[1]),
            "mean_place_taxonomy": round(by_taxonomy, 4), "mean_place_learnt": round(by_order, 4),
        }  # fmt: skip
    having = {c: learnt.having.get(c, 0) for c in taxonomy.categories}
    lines = [f' "version": 1,\n "learnt": {json.dumps(about)},\n "outfits": {json.dumps(having)},\n "order": {{']
    for n, (s, targets) in enumerate(learnt.order.items()):
        lines += [f"{',' if n else ''}\n  {json.dumps(s)}: ["]
        own = ({"target": t, "outfits": learnt.both.get((s, t), 0), "share": round(learnt.share(s, t), 4)}
               for t in targets)  # fmt: skip
        lines += [",".join(f"\n   {json.dumps(entry)}" for entry in own) + "\n  ]"]
    return "{\n" + "".join(lines) + "\n }\n}\n"
