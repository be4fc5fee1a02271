"""The grid of pictures: a few products across categories and departments, and the head of each of their lists.

The choice is by hash of the item_id, so the same products come back night after night and can be compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.complements.generations import read_live
from jobs.lake import Lake
from jobs.report.pictures import Thumbnails
from jobs.runs import Manifest
from schemas.taxonomy import Taxonomy

PRODUCTS = 12
TOP = 5  # of each list
_MICRO = 1_000_000
_LARGE = 336  # twice the CSS width of a card's own picture


@dataclass(frozen=True)
class Entry:
    """A product in a list. Scores in units; `picture` is a data address or None."""

    rank: int
    item_id: str
    title: str
    picture: str | None
    score: float | None
    visual: float | None
    colour: float | None
    reason: str

    @property
    def bars(self) -> tuple[float, float]:
        """Widths of the visual and the colour part, in percent of a score of 1."""
        visual, colour = max(0.0, self.visual or 0.0), max(0.0, self.colour or 0.0)
        scale = 100 / max(1.0, visual + colour)
        return round(visual * scale, 1), round(colour * scale, 1)


@dataclass(frozen=True)
class Slot:
    title: str
    size: int
    feasible: int
    empty_reason: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Card:
    """A product page's worth: the product and its slots in display order."""

    item_id: str
    title: str
    category: str
    department: str
    price: str
    in_stock: bool
    picture: str | None
    slots: tuple[Slot, ...]


def choose(products: list[dict[str, Any]], taxonomy: Taxonomy, most: int = PRODUCTS) -> list[dict[str, Any]]:
    """Up to `most` products: round the categories, each time the department shown least so far, then by hash."""
    waiting: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for p in sorted(products, key=lambda p: _draw(p["item_id"]), reverse=True):
        waiting.setdefault(p["category"], {}).setdefault(p["department"], []).append(p)
    order = [c for c in taxonomy.categories if c in waiting and taxonomy.targets[c]]
    departments = {d: n for n, d in enumerate(taxonomy.departments)}
    chosen: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    while len(chosen) < most and any(waiting[c] for c in order):
        for category in order:
            if waiting[category] and len(chosen) < most:
                department = min(waiting[category], key=lambda d: (seen[d], departments.get(d, 99)))
                chosen.append(waiting[category][department].pop())
                seen[department] += 1
                if not waiting[category][department]:
                    del waiting[category][department]
    return sorted(chosen, key=lambda p: order.index(p["category"]))


def cards(
    lake: Lake, manifest: Manifest, taxonomy: Taxonomy, products: pa.Table, states: pa.Table | None
) -> tuple[Card, ...]:
    """The cards of a run; none where it has no lists."""
    if not manifest.done("complements") or states is None:
        return ()
    rows = {p["item_id"]: p for p in products.to_pylist()}
    with_vector = states.filter(states["image_fingerprint"].is_valid())["item_id"].to_pylist()
    wanted = set(manifest.plan.categories)
    chosen = choose([p for i in with_vector if (p := rows.get(i)) and p["category"] in wanted], taxonomy)
    if not chosen:
        return ()
    lists = read_live(
        lake,
        "complements",
        manifest.version("complements"),
        columns=["item_id", "target_category", "slot", "items", "size", "feasible", "empty_reason"],
        filters=[
            ("model_version", "=", manifest.plan.inputs.model_version),
            ("item_id", "in", [p["item_id"] for p in chosen]),
        ],
    ).to_pylist()
    small, large = Thumbnails(), Thumbnails(_LARGE)
    return tuple(_card(p, lists, rows, taxonomy, small, large) for p in chosen)


def _card(
    p: Mapping[str, Any],
    lists: list[dict[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    taxonomy: Taxonomy,
    small: Thumbnails,
    large: Thumbnails,
) -> Card:
    own = sorted((r for r in lists if r["item_id"] == p["item_id"]), key=lambda r: r["slot"])
    slots = tuple(
        Slot(
            taxonomy.titles.get(r["target_category"], r["target_category"]),
            r["size"],
            r["feasible"],
            (r["empty_reason"] or "").replace("_", " "),
            tuple(_entry(n, e, rows, small) for n, e in enumerate(r["items"][:TOP], 1)),
        )
        for r in own
    )
    price = f"{p['price']:,.2f} {p['currency'] or ''}".strip() if p["price"] is not None else ""
    return Card(
        p["item_id"], p["title"] or p["item_id"], taxonomy.titles.get(p["category"], p["category"]), p["department"],
        price, bool(p["in_stock"]), large.get(p["image_uri"]), slots,
    )  # fmt: skip


def _entry(rank: int, e: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], thumbnails: Thumbnails) -> Entry:
    p = rows.get(e["item_id"])  # a blocked run may list products that do not exist
    score, visual, colour = (None if e[k] is None else e[k] / _MICRO for k in ("score", "visual", "colour"))
    title = (p["title"] or e["item_id"]) if p else "not in the snapshot"
    picture = thumbnails.get(p["image_uri"]) if p else None
    return Entry(rank, e["item_id"], title, picture, score, visual, colour, e["reason"])


def _draw(item_id: str) -> str:
    return hashlib.sha256(item_id.encode()).hexdigest()
