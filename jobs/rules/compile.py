"""Rules × pages × targets → `Effects`: what the rules make of the lists of one source and one target category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jobs.rules.attributes import Attributes, Bools, Float64, Int32
from schemas.rules import Rules
from schemas.taxonomy import Taxonomy

Reason = Literal[
    "unknown",  # no product of the catalogue
    "never_pair",  # its category has no slot on the page (never-pairs, the page's own category)
    "own_page",  # the page itself
    "own_group",  # a variant of the page's product
    "department",
    "blocked",  # by a block of these rules
    "sold_out",
    "same_group",  # a variant of it stands in the list already, by a more important rule or an earlier place
    "no_room",  # no free position below k
    "own_list",  # a pin, where the page's own list wins
]


@dataclass(frozen=True)
class Ineligible:
    """A pinned or listed item that was dropped, and on how many pages."""

    rule: str
    item_id: str
    page_count: int
    reason: Reason


@dataclass(frozen=True)
class Effects:
    """What the rules make of N pages of one source category against the T products of one target category.

    `allowed` holds blocks and all filters but relative price; stock and departments are not in it. Pins and own lists
    hold eligible rows alone (not blocked, in stock, of a department the page may show, not of the page's group, one a
    group), whatever the filters say: pins and own lists are above filters. On a page with an own list the pins are
    those that came after it (`fill`), at positions from 0 of the finished list, none where it is not filled.
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


def active(rules: Rules, run_date: str) -> Rules:
    """The rules in force on a date."""
    raise NotImplementedError


def columns_read(rules: Rules, run_date: str) -> frozenset[str]:
    """The `catalog` columns that the rules in force read: price, brand, tags, season, markets, …"""
    raise NotImplementedError


def rule_key(rules: Rules, run_date: str) -> str:
    """Fingerprint of the rules in force, dates apart: equal key = same effects for equal columns. "" for none."""
    raise NotImplementedError


def effects(rules: Rules, run_date: str, pages: Attributes, targets: Attributes, may: Bools, k: int) -> Effects | None:
    """What the rules make of these pages and targets; None where none in force touches them.

    `may`: [page's department, product's department], as jobs.complements.tasks.allowed gives it.
    """
    raise NotImplementedError


def unplaced(rules: Rules, run_date: str, all_: Mapping[str, Attributes], taxonomy: Taxonomy) -> tuple[Ineligible, ...]:
    """Pinned and listed items that no pair of categories sees: unknown ones, and pages without a slot for them."""
    raise NotImplementedError
