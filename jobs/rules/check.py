"""Is a rules file fit for a catalogue? What a merchandiser reads before the rules are used.

Errors are what cannot be meant: a name the taxonomy does not know, an item the catalogue does not have, a pin that
shows nowhere, a list left empty. Everything else is a warning: it may be meant, and tonight is not tomorrow.
"""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from jobs.rules.attributes import Attributes, Bools
from jobs.rules.choices import choices
from jobs.rules.compile import Compiled, active, compiled, unplaced
from jobs.rules.placement import Ineligible, Reason
from schemas.rules import Range, Rule, Rules
from schemas.taxonomy import Taxonomy

_VALUES = {"brand": "brand", "product_type": "product_type", "season": "season", "tag": "tags", "market": "markets"}
_NEXT: dict[Reason, str] = {
    "unknown": "no product has this id; mend it or take it out",
    "never_pair": "these pages have no slot for its category; narrow the source or take it out",
    "own_page": "it is the page itself; leave that page out of the source",
    "own_group": "it is a variant of the page's own product; leave that page out of the source",
    "department": "these pages may not show its department; narrow the source by department",
    "blocked": "a block of these rules forbids it; take one of the two out",
    "sold_out": "it is sold out; the model's next product takes its place until it is back",
    "same_group": "a variant of it stands in the list already; keep one of the two",
    "no_room": "there is no free position below the list's length; give it a lower position",
    "own_list": "these pages have an own list, which wins; put it into that list, or set fill: true there",
}


@dataclass(frozen=True)
class Finding:
    """One thing about a rule: where (rule, field, value), what, and what to do next."""

    level: Literal["error", "warning"]
    rule: str
    field: str
    value: str
    message: str

    def line(self) -> str:
        return f"{self.level}: rule '{self.rule}', {self.field} {self.value}: {self.message}"


@dataclass(frozen=True)
class Report:
    """All findings, errors first, and how many rules were looked at."""

    findings: tuple[Finding, ...]
    rules: int
    active: int
    pages: int

    @property
    def errors(self) -> int:
        return sum(f.level == "error" for f in self.findings)


def check(
    rules: Rules, run_date: str, all_: Mapping[str, Attributes], taxonomy: Taxonomy, may: Bools, k: int, minimum: int
) -> Report:
    """Check rules against a catalogue. Values: of all rules; the rest: of those in force on the date.

    `may` as in `effects`; `minimum`: products a list should be able to have.
    """
    found = [*_past(rules, run_date), *_unknown_values(rules, all_, taxonomy)]
    on = active(rules, run_date)
    told = {(f.rule, f.field.split(".")[0]) for f in found}
    found += [f for f in _never(on, all_, taxonomy) if (f.rule, f.field) not in told]
    short = _Short(minimum)
    pairs = [(all_[s], all_[t]) for s, t in taxonomy.pairs() if len(all_[s])]
    dropped: list[Ineligible] = list(unplaced(on, run_date, all_, taxonomy))
    moved: dict[tuple[str, str, int], int] = defaultdict(int)
    shadowed: dict[tuple[str, str], int] = defaultdict(int)
    for pages, targets in pairs:
        got = compiled(on, run_date, pages, targets, may, k)
        if got is None:
            continue
        dropped += got.effects.ineligible
        for key, n in got.moved.items():
            moved[key] += n
        for pair, n in got.shadowed.items():
            shadowed[pair] += n
        short.add(got, pages, targets, may)
    found += short.findings()
    found += _dropped(on, dropped, all_, taxonomy)
    for (winner, loser, at), n in sorted(moved.items()):
        found.append(
            Finding("warning", loser, "position", str(at + 1),
                    f"'{winner}' is pinned there too, on {_pages(n)}, and wins; this one moves to the next free "
                    "position; give one another position, or another importance")
        )  # fmt: skip
    for (winner, loser), n in sorted(shadowed.items()):
        found.append(
            Finding("warning", loser, "items", "",
                    f"'{winner}' is another own list of {_pages(n)}, and wins; narrow a source, or join them")
        )  # fmt: skip
    found += _boost_and_bury(on, all_, taxonomy)
    order = {r.name: i for i, r in enumerate(rules.rules)}
    found.sort(key=lambda f: (f.level != "error", order.get(f.rule.split("', '")[0], -1), f.field, f.value))
    return Report(tuple(found), len(rules.rules), len(on.rules), sum(len(a) for a in all_.values()))


def _pages(n: int) -> str:
    return f"{n:,} page{'s' if n != 1 else ''}"


def _past(rules: Rules, run_date: str) -> Iterable[Finding]:
    day = date.fromisoformat(run_date)
    for rule in rules.rules:
        if rule.end is not None and rule.end < day:
            yield Finding("warning", rule.name, "end", rule.end.isoformat(), "the rule is over; take it out")


# --- values ----------------------------------------------------------------------------------------------------


def _unknown_values(rules: Rules, all_: Mapping[str, Attributes], taxonomy: Taxonomy) -> Iterable[Finding]:
    """Values that nothing in the catalogue has, with the nearest one it has."""
    some = next(iter(all_.values()))
    known: dict[str, set[str]] = {key: set(getattr(some, col).names) for key, col in _VALUES.items()}
    known["category"] = set().union(*(a.called for a in all_.values()))
    known["department"] = set().union(*some.departments)
    if any(r.source.item or r.target.item for r in rules.rules):
        known["item"] = set().union(*(a.rows_of for a in all_.values()))
    for rule in rules.rules:
        for side in ("source", "target", "filters"):
            for key, values in vars(getattr(rule, side)).items():
                if not isinstance(values, tuple) or key not in known:
                    continue
                field = key if side == "filters" else f"{side}.{key}"
                fixed = key in ("category", "department")
                for value in values:
                    if value not in known[key]:
                        near = difflib.get_close_matches(value, known[key], 1) if len(known[key]) < 50_000 else []
                        hint = f"did you mean '{near[0]}'?" if near else "mend it or take it out"
                        yield Finding(
                            "error" if fixed else "warning", rule.name, field, f"'{value}'",
                            f"unknown to the {'taxonomy' if fixed else 'catalogue'}; {hint}",
                        )  # fmt: skip


def _never(rules: Rules, all_: Mapping[str, Attributes], taxonomy: Taxonomy) -> list[Finding]:
    """Rules that meet no page, no product, or no page that has a slot for a product they meet."""
    found = []
    for rule in rules.rules:
        pages = {c for c, a in all_.items() if a.matching(rule.source).any()}
        if rule.items:
            if not pages:
                found.append(_idle(rule, "source", "no page of this catalogue matches"))
            continue  # an item that shows nowhere is told by name
        hits = {c for c, a in all_.items() if a.matching(rule.target).any()}
        if not pages:
            found.append(_idle(rule, "source", "no page of this catalogue matches"))
        elif not hits:
            found.append(_idle(rule, "target", "no product of this catalogue matches"))
        elif not any(hits & set(taxonomy.targets[c]) for c in pages):
            found.append(_idle(rule, "target", "no page of the source has a slot for such a product"))
    return found


def _idle(rule: Rule, side: str, why: str) -> Finding:
    shown = ", ".join(f"{k} {_said(v)}" for k, v in vars(getattr(rule, side)).items() if v not in ((), None))
    return Finding("warning", rule.name, side, f"({shown or 'all'})", f"the rule never matches: {why}; widen it")


def _said(value: tuple[str, ...] | Range) -> str:
    if isinstance(value, tuple):
        return " | ".join(value)
    ends = (("at least", value.min), ("at most", value.max))
    return ", ".join(f"{word} {end:g}" for word, end in ends if end is not None)


# --- pins ------------------------------------------------------------------------------------------------------


def _dropped(
    rules: Rules, dropped: Iterable[Ineligible], all_: Mapping[str, Attributes], taxonomy: Taxonomy
) -> Iterable[Finding]:
    total: dict[tuple[str, str, Reason], int] = defaultdict(int)
    for d in dropped:
        total[d.rule, d.item_id, d.reason] += d.page_count
    by_name = {r.name: r for r in rules.rules}
    for (name, item, why), n in total.items():
        rule = by_name[name]
        homes = {c for c, a in all_.items() if a.row(item) >= 0}
        due = sum(int(a.matching(rule.source).sum()) for c, a in all_.items() if homes & set(taxonomy.targets[c]))
        lost = sum(m for (r, i, w), m in total.items() if (r, i) == (name, item) and w != "never_pair")
        nowhere = lost >= due
        message = _NEXT[why]
        if why == "blocked":
            message += f" ({_blockers(rules, rule, item, all_)})"
        told = "" if why == "unknown" else f"dropped on {_pages(n)}{', and shown nowhere' if nowhere else ''}: "
        serious = why in ("unknown", "blocked", "never_pair", "department") and nowhere
        yield Finding("error" if serious else "warning", name, "items", f"'{item}'", told + message)


def _blockers(rules: Rules, pin: Rule, item: str, all_: Mapping[str, Attributes]) -> str:
    def forbids(block: Rule) -> bool:
        meets = any((row := a.row(item)) >= 0 and a.matching(block.target)[row] for a in all_.values())
        return meets and any((a.matching(block.source) & a.matching(pin.source)).any() for a in all_.values())

    return ", ".join(f"'{r.name}'" for r in rules.rules if r.verb == "block" and forbids(r))


# --- boost and bury --------------------------------------------------------------------------------------------


def _boost_and_bury(rules: Rules, all_: Mapping[str, Attributes], taxonomy: Taxonomy) -> Iterable[Finding]:
    boosts = [r for r in rules.rules if r.verb == "boost"]
    buries = [r for r in rules.rules if r.verb == "bury"]
    if not boosts or not buries:
        return
    shared = np.zeros((2, len(all_), len(boosts), len(buries)), dtype=np.float64)
    for c, a in enumerate(all_.values()):
        for side, name in enumerate(("source", "target")):
            x, y = (
                np.array([a.matching(getattr(r, name)) for r in some], dtype=np.float32).reshape(len(some), len(a))
                for some in (boosts, buries)
            )
            shared[side, c] = x @ y.T
    place = {c: i for i, c in enumerate(all_)}
    pages, items = shared
    meet = np.zeros((len(boosts), len(buries)), dtype=np.bool_)
    hits = np.zeros_like(meet, dtype=np.float64)
    for s, t in taxonomy.pairs():
        both = (pages[place[s]] > 0) & (items[place[t]] > 0)
        meet |= both
        hits = np.maximum(hits, np.where(both, items[place[t]], 0))
    for i, j in zip(*np.nonzero(meet), strict=True):
        yield Finding(
            "warning", boosts[i].name, "target", "",
            f"boosts what '{buries[j].name}' buries ({hits[i, j]:,.0f} products in a category, on the same pages): the "
            "two add up; narrow one",
        )  # fmt: skip


# --- lists under their minimum ---------------------------------------------------------------------------------


class _Short:
    """Lists that blocks and filters leave with fewer products than the minimum, and fewer than there are without
    them: counted by the rules that act on the page."""

    def __init__(self, minimum: int) -> None:
        self.minimum = minimum
        self._slots: dict[tuple[str, ...], list[tuple[int, int, int, str]]] = defaultdict(list)

    def add(self, got: Compiled, pages: Attributes, targets: Attributes, may: Bools) -> None:
        if not any(got.limits):
            return
        free = np.minimum(choices(None, pages, targets, may), self.minimum)
        left = choices(got.effects, pages, targets, may)
        under = (left < free) & ~got.effects.own
        due: Counter[tuple[str, ...]] = Counter()
        for c, n in enumerate(np.bincount(got.effects.klass[free > 0], minlength=len(got.limits))):
            due[got.limits[c]] += int(n)
        counts: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for n in np.flatnonzero(under):
            counts[got.limits[got.effects.klass[n]]].append(int(left[n]))
        for names, some in counts.items():
            slot = f"{pages.category} → {targets.category}"
            self._slots[names].append((some.count(0), len(some), due[names], slot))

    def findings(self) -> Iterable[Finding]:
        for names, slots in sorted(self._slots.items()):
            empty, under = sum(s[0] for s in slots), sum(s[1] for s in slots)
            gone = [slot for none, _, due, slot in slots if none == due]
            told = f"{under:,} lists keep fewer than {self.minimum} products to choose from, {empty:,} of them none"
            told += f"; in {len(gone)} slots every page is left without" if gone else ""
            worst = ", ".join(slot for *_, slot in sorted(slots, reverse=True)[:3])
            yield Finding(
                "error" if gone else "warning", "', '".join(names), "slots", f"{worst}{', …' * (len(slots) > 3)}",
                f"{told}; widen a filter, or narrow a block or its source",
            )  # fmt: skip
