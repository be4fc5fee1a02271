"""Filters: which targets pass on a page.

Filters of different kinds all hold. Of one kind, the most important one that is for a target decides about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.rules.attributes import Attributes, Bools, Codes, within
from schemas.rules import SAME, Band, Rule

KINDS = ("price", "brand", "department", "season", "market")


@dataclass(frozen=True, eq=False)
class Chooser:
    """A block, filter, boost or bury that meets these pages and targets."""

    rule: Rule
    on: Bools  # [N]
    hits: Bools  # [T]


class Passing:
    """Which targets the filters of one kind let pass on a page; worked out once for pages that are alike."""

    def __init__(self, pages: Attributes, targets: Attributes) -> None:
        self.pages, self.targets = pages, targets
        self._all: dict[Any, tuple[Bools, Band | None]] = {}
        self._one: dict[Any, Bools] = {}

    def all(self, filters: Sequence[Chooser], kind: str, page: int) -> tuple[Bools, Band | None]:
        """What filters of a kind (by rank) leave of the targets, and the relative price band that holds besides.

        The first filter that is for a target decides. A relative band is for whole slots; where it comes after a
        price filter for some of the targets, both hold for those.
        """
        asked = [(f, self._asked(getattr(f.rule.filters, kind), kind, page)) for f in filters]
        key = (kind, *((f.rule.name, value) for f, value in asked))
        if key not in self._all:
            self._all[key] = self._settle(kind, asked)
        return self._all[key]

    def _settle(self, kind: str, asked: Sequence[tuple[Chooser, Any]]) -> tuple[Bools, Band | None]:
        passes = np.ones(len(self.targets), dtype=np.bool_)
        undecided = np.ones(len(self.targets), dtype=np.bool_)
        for f, value in asked:
            if value is None:
                continue  # the page has nothing to be the same as or relative to: the next filter holds
            if isinstance(value, Band):
                return passes, value
            if (kind, value) not in self._one:
                self._one[kind, value] = self._passing(kind, value)
            passes &= self._one[kind, value] | ~(f.hits & undecided)
            undecided &= ~f.hits
            if not undecided.any():
                break
        return passes, None

    def _asked(self, asked: Any, kind: str, page: int) -> Any:
        """What a filter asks for on this page: values, a range, a band, the page's own code; None for nothing."""
        if isinstance(asked, Band):
            return None if np.isnan(self.pages.price[page]) else asked
        if asked != SAME:
            return asked
        own = getattr(self.pages, kind)
        if not isinstance(own, Codes):
            return int(own[page])
        code = int(own.codes[page])  # all categories share the names
        return code if code >= 0 else None

    def limits(self, f: Chooser) -> bool:
        """Is there a target that the filter may keep away?"""
        asked = {k: v for k in KINDS if (v := getattr(f.rule.filters, k)) is not None}
        return any(
            v == SAME or isinstance(v, Band) or bool((f.hits & ~self._passing(k, v)).any()) for k, v in asked.items()
        )

    def _passing(self, kind: str, asked: Any) -> Bools:
        t = self.targets
        if kind == "price":
            return within(t.price, asked)
        if kind == "market":
            return t.markets.among(asked) | t.markets.empty
        if kind == "department":
            return np.equal(t.department, asked) if isinstance(asked, int) else t.department_among(asked)
        column: Codes = getattr(t, kind)
        return np.equal(column.codes, asked) if isinstance(asked, int) else column.among(asked)
