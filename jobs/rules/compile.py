"""Rules × pages × targets → `Effects`: what the rules make of the lists of one source and one target category.

Conditions are worked out once a category, on arrays; pages with the same rules form a class, and what rules allow and
boost is worked out once a class. No loop runs over products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from jobs.rules.attributes import Attributes, Bools, Codes, Float64, Int32, Int64
from jobs.rules.filtering import KINDS, Chooser, Passing
from jobs.rules.placement import Entry, Ineligible, Placer, Reason, kinds, nothing, place
from schemas.rules import EMPTY, SAME, Band, Rules, fingerprint
from schemas.taxonomy import Taxonomy

__all__ = ["Compiled", "Effects", "Ineligible", "Reason", "active", "columns_read", "compiled", "effects", "rule_key",
           "unplaced"]  # fmt: skip

_MOST = 1_000_000_000  # micro-units that boosts may add up to: with a score added it stays within int32
_CENTS = 6  # decimals a band's ends are rounded to, so that 19.90 + 50 % is 29.85 and not a hair below it
_AT_ONCE = 256  # classes whose boosts are added up together: 40 MB at 20,000 targets
_COLUMNS = {"tag": "tags", "market": "markets"}  # a condition's or filter's key → the catalogue's column


@dataclass(frozen=True)
class Effects:
    """What the rules make of N pages of one source category against the T products of one target category.

    `allowed` holds blocks and all filters but relative price; stock and departments are not in it. Pins and own lists
    hold eligible rows alone (not blocked, in stock, of a department the page may show, not of the page's group, one a
    group), whatever the filters say: pins and own lists are above filters. On a page with an own list the pins are
    those that came after it (`fill`), at positions from 0 of the finished list, none where it is not filled. A list
    of which no item is eligible is no list: `own` is False.
    """

    klass: Int32  # [N] pages with the same rules (and the same "same" relations) share a class
    allowed: Bools  # [C, T]
    boost: Int32  # [C, T] micro-units to add; bury negative
    low: Float64  # [N] a target's price must lie within [low, high]; -inf and inf where no relative band holds.
    high: Float64  # [N] Where one does, a target without a price fails
    pin_row: Int32  # [N, P] rows of the target category, -1 pad
    pin_at: Int32  # [N, P] their positions from 0, ascending, below k; -1 pad
    own_row: Int32  # [N, K] own list in order, -1 pad
    own: Bools  # [N] the own list replaces the model's
    fill: Bools  # [N] and the model fills it up to k
    ineligible: tuple[Ineligible, ...]
    unpriced: int  # pages without a price, to which a relative band was due and is not applied


@dataclass(frozen=True)
class Compiled:
    """Effects, and what the check wants to know besides."""

    effects: Effects
    limits: tuple[tuple[str, ...], ...]  # of each class: its block and filter rules that keep any target away
    moved: Counter[tuple[str, str, int]]  # (winner, loser, position from 0) of pins → pages
    shadowed: Counter[tuple[str, str]]  # (winner, loser) of own lists → pages


def active(rules: Rules, run_date: str) -> Rules:
    """The rules in force on a date."""
    day = date.fromisoformat(run_date)
    return Rules.of(r for r in rules.rules if r.on(day)) if rules else EMPTY


def columns_read(rules: Rules, run_date: str) -> frozenset[str]:
    """The `catalog` columns whose values decide which products the rules in force mean, item_id apart.

    Pins and own lists read in_stock, department and group_id too, as every list does.
    """
    day = date.fromisoformat(run_date)
    read: set[str] = set()
    for rule in rules.rules:
        if rule.on(day):
            for part in (rule.source, rule.target, rule.filters):
                keys = [k for k, v in vars(part).items() if v not in ((), None)]
                read |= {_COLUMNS.get(k, k) for k in keys if k != "item"}
    return frozenset(read)


def rule_key(rules: Rules, run_date: str) -> str:
    """Fingerprint of the rules in force, dates apart: equal key = same effects for equal columns. "" for none."""
    day = date.fromisoformat(run_date)
    on = [r for r in rules.rules if r.on(day)]
    return fingerprint(on, dates=False) if on else ""


def effects(rules: Rules, run_date: str, pages: Attributes, targets: Attributes, may: Bools, k: int) -> Effects | None:
    """What the rules make of these pages and targets; None where none in force touches them.

    `may`: [page's department, product's department], as jobs.complements.tasks.allowed gives it.
    """
    got = compiled(rules, run_date, pages, targets, may, k)
    return None if got is None else got.effects


def compiled(
    rules: Rules, run_date: str, pages: Attributes, targets: Attributes, may: Bools, k: int
) -> Compiled | None:
    """As `effects`, with what the check reads."""
    choosers, placers = _meeting(rules, run_date, pages, targets)
    if not choosers and not placers:
        return None
    filters = [c for c in choosers if c.rule.verb == "filter"]
    priced = ~np.isnan(pages.price)
    relative = np.zeros(len(pages), dtype=np.bool_)
    for f in filters:
        if isinstance(f.rule.filters.price, Band):
            relative |= f.on
    same = [_same(filters, kind, pages)[:, None] for kind in ("brand", "department", "season")]
    bits = np.packbits(np.array([c.on for c in choosers], np.bool_).reshape(len(choosers), len(pages)), axis=0).T
    klass, first, _ = kinds(np.column_stack([bits, (relative & priced)[:, None], *same]))
    n_classes = len(first)

    blocked = _blocked([c for c in choosers if c.rule.verb == "block"], first, len(targets))
    allowed = ~blocked
    low, high = np.full(len(pages), -np.inf), np.full(len(pages), np.inf)
    ends = np.full((n_classes, 2), np.nan)  # of the relative band
    passing = Passing(pages, targets)
    for kind in KINDS:
        some = [f for f in filters if getattr(f.rule.filters, kind) is not None]
        for c in np.flatnonzero(np.any([f.on[first] for f in some], axis=0)) if some else ():
            page = int(first[c])
            passes, band = passing.all([f for f in some if f.on[page]], kind, page)
            allowed[c] &= passes
            if band is not None:
                ends[c] = band.low, band.high
    bound = ~np.isnan(ends[klass, 0])
    for side, out in enumerate((low, high)):
        out[bound] = np.round(pages.price[bound] * (1 + ends[klass[bound], side]), _CENTS)
    placed = place(placers, pages, targets, blocked, klass.astype(np.int32), may, k) if placers else nothing(len(pages))
    limits = [c for c in choosers if c.rule.verb == "block" or (c.rule.verb == "filter" and passing.limits(c))]
    found = Effects(
        klass.astype(np.int32), allowed, _boosted(choosers, first, len(targets)), low, high,
        placed.pin_row, placed.pin_at, placed.own_row, placed.own, placed.fill,
        placed.ineligible(), int((relative & ~priced).sum()),
    )  # fmt: skip
    named = tuple(tuple(c.rule.name for c in limits if c.on[page]) for page in first)
    return Compiled(found, named, placed.moved, placed.shadowed)


def _meeting(rules: Rules, run_date: str, pages: Attributes, targets: Attributes) -> tuple[list[Chooser], list[Placer]]:
    """The rules in force that meet a page and a target, by rank."""
    day = date.fromisoformat(run_date)
    choosers: list[Chooser] = []
    placers: list[Placer] = []
    for rule in rules.by_rank():
        if not rule.on(day):
            continue
        if rule.items:
            entries = tuple(Entry(i, row) for i in rule.items if (row := targets.row(i)) >= 0)
            if entries and (on := pages.matching(rule.source)).any():
                placers.append(Placer(rule, entries, on))
        elif (on := pages.matching(rule.source)).any() and (hits := targets.matching(rule.target)).any():
            choosers.append(Chooser(rule, on, hits))
    return choosers, placers


def _same(filters: Sequence[Chooser], kind: str, pages: Attributes) -> Int64:
    """[N] the page's own value where a filter asks for the same one, else -1."""
    asked = np.zeros(len(pages), dtype=np.bool_)
    for f in filters:
        if getattr(f.rule.filters, kind) == SAME:
            asked |= f.on
    column = getattr(pages, kind)
    return np.where(asked, column.codes if isinstance(column, Codes) else column, -1).astype(np.int64)


def _by_pattern(choosers: Sequence[Chooser], first: Int64) -> tuple[Int64, Bools]:
    """Classes that meet the same of these rules: each class' pattern, and the rules on of each pattern."""
    on = np.array([c.on[first] for c in choosers], dtype=np.bool_).T
    pattern, at, _ = kinds(np.packbits(on, axis=1))
    return pattern, on[at]


def _blocked(blocks: Sequence[Chooser], first: Int64, n_targets: int) -> Bools:
    """[C, T]"""
    if not blocks:
        return np.zeros((len(first), n_targets), dtype=np.bool_)
    pattern, on = _by_pattern(blocks, first)
    hits = np.array([b.hits for b in blocks], dtype=np.float32)
    out: Bools = ((on.astype(np.float32) @ hits) > 0)[pattern]
    return out


def _boosted(choosers: Sequence[Chooser], first: Int64, n_targets: int) -> Int32:
    """[C, T] micro-units. Whole numbers far below 2⁵³, so the sums in float64 are exact."""
    some = [c for c in choosers if c.rule.verb in ("boost", "bury")]
    if not some:
        return np.broadcast_to(np.int32(0), (len(first), n_targets))
    pattern, on = _by_pattern(some, first)
    amounts = np.array([c.rule.amount if c.rule.verb == "boost" else -c.rule.amount for c in some], np.float64)
    hits = np.array([c.hits for c in some], dtype=np.float64) * amounts[:, None]
    sums = np.empty((len(on), n_targets), dtype=np.int32)
    for start in range(0, len(on), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        sums[part] = np.clip(on[part].astype(np.float64) @ hits, -_MOST, _MOST)
    return np.broadcast_to(sums, (len(first), n_targets)) if len(on) == 1 else sums[pattern]


def unplaced(rules: Rules, run_date: str, all_: Mapping[str, Attributes], taxonomy: Taxonomy) -> tuple[Ineligible, ...]:
    """Pinned and listed items of rules in force that `effects` cannot report, as no pair of categories sees them.

    `unknown`: no product. `never_pair`: pages without a slot for it; told where the rule names its pages by item or
    category, or where no page has one (a pin for all pages is not for those that cannot show it).
    """
    out: list[Ineligible] = []
    for rule in active(rules, run_date).rules:
        if not rule.items:
            continue
        pages = {c: int(a.matching(rule.source).sum()) for c, a in all_.items()}
        for item in rule.items:
            homes = [c for c, a in all_.items() if a.row(item) >= 0]
            if not homes:
                out.append(Ineligible(rule.name, item, sum(pages.values()), "unknown"))
                continue
            without = sum(n for c, n in pages.items() if not set(homes) & set(taxonomy.targets[c]))
            named = rule.source.item or rule.source.category
            if without and (named or without == sum(pages.values())):
                out.append(Ineligible(rule.name, item, without, "never_pair"))
    return tuple(out)
