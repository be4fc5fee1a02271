"""A shop's merchandising rules: `rules.yaml`, checked against `rules.schema.json`, as typed data.

Pure data. What the rules do to lists is `jobs/rules`; what a merchandiser writes is docs/rules.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

SCHEMA = Path(__file__).with_name("rules.schema.json")
MICRO = 1_000_000  # micro-units a score unit

Verb = Literal["pin", "block", "boost", "bury", "filter", "list"]
SAME = "same"  # a filter's value that means: the page's own

_BAND = re.compile(r"^\s*([+-]?\d+(?:\.\d+)?)\s*%\s*/\s*([+-]?\d+(?:\.\d+)?)\s*%\s*$")


class RulesError(ValueError):
    """The rules file is wrong; the message names the file, the rule and the key."""


@dataclass(frozen=True)
class Range:
    """An absolute price range, both ends inclusive."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Band:
    """A price range relative to the page's price, in shares of it: -20%/+50% is (-0.2, 0.5). Both ends inclusive."""

    low: float
    high: float


@dataclass(frozen=True)
class Condition:
    """Which products. Every key that is given must hold; of a key's (folded) values any one may."""

    item: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    brand: tuple[str, ...] = ()
    product_type: tuple[str, ...] = ()
    price: Range | None = None
    tag: tuple[str, ...] = ()
    department: tuple[str, ...] = ()
    season: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != EVERYTHING


EVERYTHING = Condition()


@dataclass(frozen=True)
class Filters:
    """What a filter asks of a target; None: nothing. `same`: the page's own value."""

    price: Range | Band | None = None
    brand: tuple[str, ...] | Literal["same"] | None = None
    department: tuple[str, ...] | Literal["same"] | None = None
    season: tuple[str, ...] | Literal["same"] | None = None
    market: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Rule:
    """One rule. What a verb does not use keeps its default."""

    name: str
    verb: Verb
    source: Condition = EVERYTHING  # pages
    target: Condition = EVERYTHING  # products; of pin and list the `items`
    items: tuple[str, ...] = ()  # as written, in order
    position: int = 1  # of the first pinned item, from 1
    amount: int = 0  # micro-units, > 0 for boost and bury
    filters: Filters = Filters()
    fill: bool = False
    start: date | None = None  # first day
    end: date | None = None  # last day
    importance: int = 0

    def on(self, day: date) -> bool:
        """Is the rule in force on that day? Both dates are inclusive."""
        return (self.start is None or self.start <= day) and (self.end is None or day <= self.end)


@dataclass(frozen=True)
class Rules:
    """A checked rules file: rules by name. `fingerprint`: sha256 of the canonical content, 16 hex digits; "" if none."""

    rules: tuple[Rule, ...] = ()
    fingerprint: str = ""

    def __bool__(self) -> bool:
        return bool(self.rules)


EMPTY = Rules()


def read_rules(path: Path) -> Rules:
    """Read and check a rules file. Raises RulesError naming file, rule and key."""
    raise NotImplementedError
