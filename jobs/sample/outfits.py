"""The rule by which products stand together, and outfits that follow it.

The rule, all of it visible in the pictures but the department:

1. three to six products of different categories, among them shoes and either a top with a bottom or an
   all-body piece, not both;
2. one style (casual, smart, sport, boho), which a product has by its shape;
3. no summer piece with a winter piece, which a product is by its shape;
4. at most one printed piece (stripes, checks, dots, flowers);
5. colours that harmonise in every pair: one undertone, and accents analogous or complementary
   (`palette.harmonise`); at least one neutral;
6. one department, or one with unisex (girls and boys with kids).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.sample.palette import harmonise
from jobs.sample.products import Product

SIZES = ((3, 20), (4, 35), (5, 30), (6, 15))  # outfits of so many products, in this proportion
BODY = ("tops", "bottoms", "all-body")
EXTRAS = ("outerwear", "bags", "jewellery", "accessories", "hats", "scarves", "sunglasses")
_TRIES = 40  # attempts an outfit before a pool counts as exhausted
_NEUTRAL_AGE = {"women": "unisex", "men": "unisex", "girls": "kids", "boys": "kids"}


@dataclass(frozen=True)
class Outfit:
    """Products that go together, in the order of their places (1, 2, ...)."""

    set_id: str
    items: tuple[Product, ...]


def same_wardrobe(a: str, b: str) -> bool:
    """Whether two departments may stand in one outfit."""
    return a == b or _NEUTRAL_AGE.get(a) == b or _NEUTRAL_AGE.get(b) == a


def clash(a: Product, b: Product) -> str:
    """What the eye would hold against the pair; empty where it goes together."""
    if a.shape.style != b.shape.style:
        return f"{a.shape.style} with {b.shape.style}"
    if {a.shape.season, b.shape.season} == {"summer", "winter"}:
        return "summer with winter"
    if a.patterned and b.patterned:
        return "two prints"
    if not harmonise(a.colour, b.colour):
        return f"{a.colour.name} with {b.colour.name}"
    return ""


def violations(items: Sequence[Product]) -> list[str]:
    """Every way in which the products break the rule; empty for an outfit."""
    out = []
    kinds = [p.category for p in items]
    if not 3 <= len(items) <= 6:
        out.append(f"{len(items)} products")
    if len(set(kinds)) != len(kinds):
        out.append("a category twice")
    whole, parts = "all-body" in kinds, [c for c in ("tops", "bottoms") if c in kinds]
    if "shoes" not in kinds or (whole and parts) or (not whole and len(parts) != 2):
        out.append("not dressed: shoes and either top with bottom or one all-body piece")
    if not any(p.colour.neutral for p in items):
        out.append("no neutral")
    for i, a in enumerate(items):
        for b in items[i + 1 :]:
            if not same_wardrobe(a.department, b.department):
                out.append(f"{a.item_id} and {b.item_id}: {a.department} with {b.department}")
            if why := clash(a, b):
                out.append(f"{a.item_id} and {b.item_id}: {why}")
    return out


def make_outfits(
    pool: Sequence[Product], count: int, rng: random.Random, taken: set[frozenset[str]]
) -> list[tuple[Product, ...]]:
    """Up to `count` different outfits from the pool, none in `taken`, which grows. Fewer where it is exhausted."""
    fit = [p for p in pool if not p.fault and (p.category in (*BODY, *EXTRAS, "shoes"))]
    goes = {
        p.item_id: [
            q for q in fit if q.category != p.category and same_wardrobe(p.department, q.department) and not clash(p, q)
        ]
        for p in fit
    }
    starts = [p for p in fit if p.category in ("tops", "all-body")]
    uses: Counter[str] = Counter()
    out: list[tuple[Product, ...]] = []
    for _ in range(count * _TRIES if starts else 0):
        if len(out) == count:
            break
        outfit = _grow(starts, goes, uses, rng)
        key = frozenset(p.item_id for p in outfit)
        if not outfit or key in taken or violations(outfit):
            continue
        taken.add(key)
        uses.update(key)
        out.append(outfit)
    return out


def _pick(options: Sequence[Product], uses: Counter[str], rng: random.Random, near: Sequence[Product]) -> Product:
    """One product; those little used so far, and those that take up a colour already there, are likelier."""
    there = {p.colour.name for p in near}
    weights = [(1.6 if p.colour.name in there else 1.0) / (1 + uses[p.item_id]) for p in options]
    return rng.choices(options, weights)[0]


def _grow(
    starts: Sequence[Product], goes: dict[str, list[Product]], uses: Counter[str], rng: random.Random
) -> tuple[Product, ...]:
    """One attempt at an outfit; empty where it came to a dead end."""
    size = rng.choices([n for n, _ in SIZES], [w for _, w in SIZES])[0]
    chosen = [_pick(starts, uses, rng, ())]
    need = ["shoes"] if chosen[0].category == "all-body" else ["bottoms", "shoes"]
    extras = list(EXTRAS)
    rng.shuffle(extras)
    for category in [*need, *extras[: size - len(need) - 1]]:
        sets = [{p.item_id for p in goes[c.item_id]} for c in chosen]
        options = [p for p in goes[chosen[0].item_id] if p.category == category and all(p.item_id in s for s in sets)]
        if not options:
            if category in need:
                return ()
            continue
        chosen.append(_pick(options, uses, rng, chosen))
    return tuple(chosen)
