"""Writes outfits in the layout of the Polyvore Outfits download (Vasileva et al., ECCV 2018).

As there: an item of an outfit is named `<set id>_<place>`; the right answer to a fill-in-the-blank question is
the one whose set id is the question's; wrong ones are of the same fine type or else category, drawn by
use (every use in an outfit of the split is one lot). Unlike there, a wrong answer always breaks the rule in
a way that can be seen, so that every question has one right answer.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.sample.outfits import Outfit, clash, make_outfits, same_wardrobe, violations
from jobs.sample.products import Product

FULL = 660  # the size for which the numbers below are meant; they shrink and grow with it
NONDISJOINT = {"train": 700, "valid": 100, "test": 150}
DISJOINT = {"train": 300, "valid": 50, "test": 80}
_SHARE = {"train": 0.36, "valid": 0.29, "test": 0.35}  # of the held-out wardrobe's designs, in the disjoint split
_HELD_OUT = ("women", "unisex")  # valid and test draw on these alone: a part of every wardrobe is too thin for outfits
_NEGATIVES = 3

Place = tuple[str, Product]  # "<set id>_<place>" and what stands there


def write_outfits(products: Sequence[Product], folder: Path, seed: int) -> dict[str, int]:
    """Write the whole folder; gives the number of outfits by `split/part`."""
    rng = random.Random(f"medal-sample/outfits/{seed}")
    folder.mkdir(parents=True)
    splits = {"nondisjoint": _nondisjoint(products, rng), "disjoint": _disjoint(products, rng)}
    number, titles, counts = 100, {}, {}
    for name, parts in splits.items():
        (folder / name).mkdir()
        for part, made in parts.items():
            outfits = []
            for items in made:
                number += 1
                places = list(items)
                rng.shuffle(places)  # no model shall learn that the top comes first
                outfits.append(Outfit(str(number), tuple(places)))
            _write_part(folder / name, part, outfits, rng)
            titles.update({o.set_id: {"url_name": _slug(_name(o)), "title": _name(o)} for o in outfits})
            counts[f"{name}/{part}"] = len(outfits)
    _json(folder / "polyvore_outfit_titles.json", titles)
    _write_items(products, folder)
    return counts


def _scaled(count: int, products: Sequence[Product]) -> int:
    return max(4, round(count * len(products) / FULL))


def _nondisjoint(products: Sequence[Product], rng: random.Random) -> dict[str, list[tuple[Product, ...]]]:
    want = {part: _scaled(n, products) for part, n in NONDISJOINT.items()}
    made = make_outfits(products, sum(want.values()), rng, set())
    rng.shuffle(made)
    # Where the pool gave fewer than asked, each part keeps its share.
    first = len(made) * want["train"] // sum(want.values())
    second = first + len(made) * want["valid"] // sum(want.values())
    return {"train": made[:first], "valid": made[first:second], "test": made[second:]}


def _disjoint(products: Sequence[Product], rng: random.Random) -> dict[str, list[tuple[Product, ...]]]:
    """No product, nor another colour of it, stands in two parts."""
    groups = sorted({p.group_id for p in products if p.department in _HELD_OUT})
    rng.shuffle(groups)
    out, start = {}, 0.0
    for part, share in _SHARE.items():
        own = set(groups[round(start * len(groups)) : round((start + share) * len(groups))])
        start += share
        pool = [p for p in products if p.group_id in own or (part == "train" and p.department not in _HELD_OUT)]
        out[part] = make_outfits(pool, _scaled(DISJOINT[part], products), rng, set())
    return out


def _write_part(folder: Path, part: str, outfits: Sequence[Outfit], rng: random.Random) -> None:
    _json(
        folder / f"{part}.json",
        [
            {"set_id": o.set_id, "items": [{"item_id": p.item_id, "index": i} for i, p in enumerate(o.items, start=1)]}
            for o in outfits
        ],
    )
    lots = [(f"{o.set_id}_{i}", p) for o in outfits for i, p in enumerate(o.items, start=1)]
    questions = [q for o in outfits if (q := _question(o, lots, rng))]
    _json(folder / f"fill_in_blank_{part}.json", questions)
    lines = []
    for o in outfits:
        lines.append("1 " + " ".join(f"{o.set_id}_{i}" for i in range(1, len(o.items) + 1)))
        if mixed := _mixed(o, lots, rng):
            lines.append("0 " + " ".join(mixed))
    (folder / f"compatibility_{part}.txt").write_text("".join(f"{x}\n" for x in lines), encoding="utf-8")


def _question(outfit: Outfit, lots: Sequence[Place], rng: random.Random) -> dict[str, Any] | None:
    """A fill-in-the-blank question; None where the split holds too few wrong answers."""
    blank = rng.randrange(len(outfit.items))
    right = outfit.items[blank]
    rest = [p for i, p in enumerate(outfit.items) if i != blank]
    wrong = [
        (name, p)
        for name, p in lots
        if p.category == right.category
        and p.item_id != right.item_id
        and not name.startswith(f"{outfit.set_id}_")
        and same_wardrobe(p.department, right.department)
        and any(clash(p, q) for q in rest)
    ]
    rng.shuffle(wrong)
    wrong.sort(key=lambda lot: lot[1].shape.product_type != right.shape.product_type)  # fine type first
    answers: dict[str, str] = {}
    for name, p in wrong:
        answers.setdefault(p.item_id, name)
    names = list(answers.values())[:_NEGATIVES]
    if len(names) < _NEGATIVES:
        return None
    names.append(f"{outfit.set_id}_{blank + 1}")
    rng.shuffle(names)
    places = [f"{outfit.set_id}_{i + 1}" for i in range(len(outfit.items)) if i != blank]
    return {"question": places, "blank_position": blank + 1, "answers": names}


def _mixed(outfit: Outfit, lots: Sequence[Place], rng: random.Random) -> list[str]:
    """Another product of the same category in every place, which together break the rule; empty where there is none."""
    choices = [
        [
            lot
            for lot in lots
            if lot[1].category == p.category and lot[1] != p and same_wardrobe(lot[1].department, p.department)
        ]
        for p in outfit.items
    ]
    if not all(choices):
        return []
    for _ in range(20):
        drawn = [rng.choice(c) for c in choices]
        items = [p for _, p in drawn]
        if any(clash(a, b) for i, a in enumerate(items) for b in items[i + 1 :]) and violations(items):
            return [name for name, _ in drawn]
    return []


def _write_items(products: Sequence[Product], folder: Path) -> None:
    sold = [p for p in products if p.fault != "other_category"]
    fine = sorted({(p.category, p.shape.product_type) for p in sold})
    number = {kind: str(i) for i, (_, kind) in enumerate(fine, start=1)}
    with (folder / "categories.csv").open("w", newline="", encoding="utf-8") as f:
        csv.writer(f, lineterminator="\n").writerows([number[kind], kind, category] for category, kind in fine)
    meta = {
        p.item_id: {
            "url_name": _slug(p.title),
            "description": p.description,
            "title": p.title,
            "related": "",
            "category_id": number[p.shape.product_type],
            "semantic_category": p.category,
        }
        for p in sold
    }
    _json(folder / "polyvore_item_metadata.json", meta)


def _name(o: Outfit) -> str:
    lead = next(p for p in o.items if p.category in ("tops", "all-body"))
    return f"{lead.shape.style.capitalize()} look around a {lead.title[0].lower()}{lead.title[1:]}"


def _slug(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
