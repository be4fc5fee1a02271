"""A shop small enough to read: its products, and what rules make of one page of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.complements.tasks import allowed
from jobs.rules.attributes import Attributes, attributes
from jobs.rules.compile import Effects, effects
from schemas.rules import Rules, parse_rules
from schemas.tables import CATALOG
from schemas.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
MAY = allowed(TAXONOMY)
DAY = "2026-06-15"
K = 4


def product(item_id: str, category: str, **more: Any) -> dict[str, Any]:
    return {
        "snapshot": DAY, "item_id": item_id, "category": category, "image": "a.jpg", "image_uri": "/a.jpg",
        "department": "women", "group_id": item_id, "availability": "in_stock", "in_stock": True, **more,
    }  # fmt: skip


def shop(*products: dict[str, Any]) -> dict[str, Attributes]:
    return attributes(pa.Table.from_pylist(list(products), schema=CATALOG.schema), TAXONOMY)


def rules(text: str) -> Rules:
    """Rules from lines of flow mappings: `{name: a, verb: …}`, a rule a line."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return parse_rules("rules:\n" + "".join(f"- {line}\n" for line in lines), "rules.yaml")


@dataclass(frozen=True)
class Seen:
    """What rules make of one page's slot. `dropped`: (item, reason) → pages, over all pages."""

    allowed: set[str]
    boost: dict[str, int]  # micro-units, without zeros
    pins: dict[int, str]  # position from 0
    own: list[str] | None
    fill: bool
    dropped: dict[tuple[str, str], int]
    unpriced: int

    @classmethod
    def of(cls, e: Effects, page: int, targets: Attributes) -> Seen:
        ids = targets.ids.to_pylist()
        c = e.klass[page]
        bounded = np.isfinite(e.low[page]) or np.isfinite(e.high[page])
        band = (targets.price >= e.low[page]) & (targets.price <= e.high[page]) if bounded else True
        pins = zip(e.pin_at[page].tolist(), e.pin_row[page].tolist(), strict=True)
        return cls(
            {ids[t] for t in np.flatnonzero(e.allowed[c] & band)},
            {ids[t]: int(e.boost[c, t]) for t in np.flatnonzero(e.boost[c])},
            {at: ids[row] for at, row in pins if at >= 0},
            [ids[row] for row in e.own_row[page] if row >= 0] if e.own[page] else None,
            bool(e.fill[page]),
            {(d.item_id, d.reason): d.page_count for d in e.ineligible},
            e.unpriced,
        )


def look(
    text: str | Rules,
    world: dict[str, Attributes],
    page: str,
    target: str = "shoes",
    source: str = "tops",
    day: str = DAY,
    k: int = K,
) -> Seen | None:
    """What rules make of a page's slot; None where they do not touch the two categories."""
    pages, targets = world[source], world[target]
    got = effects(rules(text) if isinstance(text, str) else text, day, pages, targets, MAY, k)
    return None if got is None else Seen.of(got, pages.ids.to_pylist().index(page), targets)
