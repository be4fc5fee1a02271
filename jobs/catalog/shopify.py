"""Shopify's product CSV, by its headers of before and after 2024: a row a variant or a picture, to a row a colourway.

https://help.shopify.com/en/manual/products/import-export/using-csv. A product's own fields stand on the first row of
its handle alone. Sizes are collapsed: the unit is what looks different.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from jobs.catalog.google import categorised
from jobs.catalog.rows import BAD_CELLS, FAULT, ROW, Notes, RawRow, fault
from jobs.catalog.values import number_of
from schemas.category_map import CategoryMap
from schemas.tables import MANY
from schemas.taxonomy import fold

# The names of both headers, folded -> what they are.
_NAMES = {
    "handle": "handle", "url handle": "handle", "title": "title", "vendor": "vendor",
    "product category": "category", "standard product type": "category", "standardized product type": "category",
    "type": "type", "custom product type": "type", "tags": "tags",
    "published": "published", "published on online store": "published", "status": "status",
    "option1 name": "name1", "option1 value": "value1", "option2 name": "name2", "option2 value": "value2",
    "option3 name": "name3", "option3 value": "value3",
    "variant sku": "sku", "sku": "sku", "variant price": "price", "price": "price",
    "variant inventory tracker": "tracker", "inventory tracker": "tracker",
    "variant inventory qty": "quantity", "inventory quantity": "quantity",
    "variant inventory policy": "policy", "continue selling when out of stock": "policy",
    "image src": "image", "product image url": "image", "image position": "position", "variant image": "variant_image",
    "variant image url": "variant_image", "gift card": "gift_card",
    "google shopping / google product category": "google", "google shopping / gender": "gender",
    "google shopping / age group": "age_group",
}  # fmt: skip
_COLOUR = {
    "color", "colour", "colors", "colours", "color name", "colour name", "colorway", "colourway", "shade", "farbe",
    "couleur", "kleur", "colore", "cor", "färg", "farve", "kolor", "renk",
}  # fmt: skip
_OF_PRODUCT = (
    "title", "vendor", "category", "type", "tags", "published", "status", "gift_card", "google", "gender", "age_group",
    "name1", "name2", "name3",
)  # fmt: skip
_MOST_COLOURS = 2048  # Shopify's limit of variants a product
_SOLD_OUT = "out_of_stock"


def is_shopify(names: Iterable[str]) -> bool:
    """Whether a header is of a product export: a handle and options or a picture."""
    have = {_NAMES.get(fold(n)) for n in names}
    return "handle" in have and bool(have & {"name1", "value1"}) and bool(have & {"image", "price", "title"})


@dataclass
class _Colourway:
    row: int
    colour: str | None
    image: str | None = None
    price: str | None = None
    in_stock: bool = False


@dataclass
class _Product:
    handle: str
    row: int
    fields: dict[str, str] = field(default_factory=dict)
    image: tuple[int, str] | None = None  # the lowest position
    colours: dict[str, _Colourway] = field(default_factory=dict)
    fault: str | None = None


def shopify_rows(
    names: Iterable[str], records: Iterable[tuple[int, RawRow]], known: CategoryMap, notes: Notes
) -> Iterator[RawRow]:
    """Colourways by the contract's names, in the file's order. Rows of one handle stand together, as exported."""
    names = list(names)
    have = {n: _NAMES[f] for n in names if (f := fold(n)) in _NAMES}
    counted = "quantity" in have.values()
    if not counted:
        notes.said.append("there is no column of stock: every product that is published counts as in stock")
    product: _Product | None = None
    for number, record in records:
        if BAD_CELLS in record or FAULT in record:
            # Its cells stand under wrong names; what else is of its handle goes on without it.
            yield {ROW: str(number), **{k: record[k] for k in (BAD_CELLS, FAULT) if k in record}}
            continue
        given = {have[n]: v for n, v in record.items() if n in have}
        handle = given.get("handle")
        if not handle:
            yield {ROW: str(number), FAULT: fault("handle", None, "is empty; every row of a product has its handle")}
            continue
        if product is None or product.handle != handle:
            if product is not None:
                yield from _colourways(product, known, notes)
            product = _Product(handle, number)
        _add(product, given, number, counted, notes)
    if product is not None:
        yield from _colourways(product, known, notes)


def _add(product: _Product, given: RawRow, number: int, counted: bool, notes: Notes) -> None:
    for name in _OF_PRODUCT:
        if name in given:
            product.fields.setdefault(name, given[name])
    if "image" in given:
        position = given.get("position", "")
        place = int(position) if position.isdecimal() and len(position) < 9 else 10**9
        if product.image is None or place < product.image[0]:
            product.image = (place, given["image"])
    if not any(n in given for n in ("value1", "price", "sku")):
        notes.counts["rows that only add a picture to their product"] += 1
        return
    colour = next(
        (
            given[f"value{i}"]
            for i in "123"
            if fold(product.fields.get(f"name{i}", "")) in _COLOUR and f"value{i}" in given
        ),
        None,
    )
    key = fold(colour or "")
    way = product.colours.get(key)
    if way is None:
        if len(product.colours) >= _MOST_COLOURS:
            product.fault = f"has more than {_MOST_COLOURS:,} colours"
            return
        way = product.colours[key] = _Colourway(number, colour)
    else:
        notes.counts["rows that are further sizes of a colourway"] += 1
    way.image = way.image or given.get("variant_image")
    way.price = way.price or given.get("price")
    way.in_stock = way.in_stock or not counted or _buyable(given)


def _buyable(variant: RawRow) -> bool:
    """Stock is kept by somebody, none is left and none may be ordered: only then it is sold out."""
    if "tracker" not in variant or variant.get("policy", "").casefold() in ("continue", "true", "yes"):
        return True
    number = number_of(variant.get("quantity", ""))
    return number is not None and float(number) > 0


def _colourways(product: _Product, known: CategoryMap, notes: Notes) -> Iterator[RawRow]:
    of = product.fields
    if (
        of.get("status", "active").casefold() in ("draft", "archived")
        or of.get("published", "true").casefold() == "false"
    ):
        notes.counts["products passed over because they are drafts, archived or not published"] += 1
        return
    if not product.colours:
        # A handle that has pictures alone, or nothing at all
        product.colours[""] = _Colourway(product.row, None)
    for way in product.colours.values():
        yield _row(product, way, known, notes)


def _row(product: _Product, way: _Colourway, known: CategoryMap, notes: Notes) -> RawRow:
    of = product.fields
    row = {ROW: str(way.row), "item_id": item_id(product.handle, way.colour), "group_id": product.handle}
    row |= {
        to: of[name]
        for name, to in (("vendor", "brand"), ("type", "product_type"), ("age_group", "age_group"))
        if name in of
    }
    if title := of.get("title"):
        row["title"] = f"{title} – {way.colour}" if way.colour and fold(way.colour) not in fold(title) else title
    if tags := [t.strip().replace(MANY, "/") for t in of.get("tags", "").split(",") if t.strip()]:
        row["tags"] = MANY.join(tags)
    if image := way.image or (product.image and product.image[1]):
        row["image"] = image
        if not way.image and len(product.colours) > 1:
            notes.counts["colourways without a picture of their own, which take their product's first"] += 1
    if way.price:
        row["price"] = number_of(way.price) or way.price
    if not way.in_stock:
        row["availability"] = _SOLD_OUT
    if product.fault or not title:
        told = fault(
            "handle", product.handle, product.fault or "has no title: its first row is missing, or stands elsewhere"
        )
        return {**row, FAULT: told}
    if of.get("gift_card", "").casefold() == "true":
        return {**row, FAULT: fault("gift_card", of["gift_card"], "is no product to wear")}
    first, second = known.find(of.get("google"), None), known.find(of.get("category"), of.get("type"))
    found = first if first.category or first.refused else second
    if found.value is None and first.value is not None:
        found = first
    tags_ = [t for t in of.get("tags", "").split(",") if len(t.split()) == 1]  # "women", but not "gift for men"
    return categorised(
        row, found, of.get("gender"), (of.get("type"), of.get("category"), *tags_), known, notes, way.row
    )


def item_id(handle: str, colour: str | None) -> str:
    """The colourway's id: the handle and the colour, so that neither sizes, SKUs nor the order of rows change it.

    A colour that is more than words and digits ("Red/Blue") brings a digest, so that no two give the same id.
    """
    if not colour:
        return handle
    folded = fold(colour)
    slug = re.sub(r"[\W_]+", "-", folded).strip("-")
    plain = re.sub(r" ", "-", folded) == slug and "-" not in folded
    return (
        f"{handle}--{slug}"
        if plain
        else f"{handle}--{slug}-{hashlib.sha256(folded.encode()).hexdigest()[:6]}".replace("---", "--")
    )
