"""schema.org Products in JSON-LD: one object a line, a graph, a list, or a ProductGroup with its variants.

https://schema.org/Product. Feeds take many liberties: one or several of everything, text where an object belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jobs.catalog.google import categorised
from jobs.catalog.rows import FAULT, ROW, Notes, RawRow, fault
from jobs.catalog.values import availability, price
from schemas.category_map import CategoryMap, Found

_DEPTH = 6  # of objects around a product
_PRODUCTS = {"product", "individualproduct", "someproducts", "productmodel"}
_INSIDE = ("@graph", "mainEntity", "itemListElement", "item", "itemOffered", "makesOffer", "hasOfferCatalog", "offers")
_IDS = ("sku", "productID", "mpn", "@id", "url", "productGroupID")
_IN_STOCK = ("in_stock", "preorder", "backorder")


def is_schema_org(value: Any) -> bool:
    """Whether a JSON value has anything of JSON-LD in it."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and bool({"@type", "@graph", "@context"} & set(first))


def schema_org_rows(number: int, value: Any, known: CategoryMap, notes: Notes) -> Iterator[RawRow]:
    """The products of one JSON value by the contract's names; a value without any is a row with a fault."""
    found = False
    crumbs = next(_crumbs(value, _DEPTH), [])
    for product in _products(value, _DEPTH):
        found = True
        yield {ROW: str(number), **_row(product, crumbs, known, notes, number)}
    if not found:
        kind = ", ".join(sorted(_types(value))) if isinstance(value, dict) else type(value).__name__
        yield {ROW: str(number), FAULT: fault("@type", kind or None, "there is no Product in it")}


def _products(node: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth < 0:
        return
    if isinstance(node, list):
        for one in node:
            yield from _products(one, depth - 1)
    elif isinstance(node, dict):
        types = _types(node)
        if "productgroup" in types:
            variants = [v for v in _many(node.get("hasVariant")) if isinstance(v, dict)]
            shared = {
                k: v
                for k, v in node.items()
                if k not in ("@type", "@id", "@context", "hasVariant", "sku", "offers", "url")
            }
            group = (
                _text(node.get("productGroupID"))
                or _text(node.get("sku"))
                or _text(node.get("@id"))
                or _text(node.get("url"))
            )
            for variant in variants:
                yield {**shared, **({"inProductGroupWithID": group} if group else {}), **variant}
            if not variants:
                yield node
        elif types & _PRODUCTS:
            yield node
        else:
            for key in _INSIDE:
                if key in node:
                    yield from _products(node[key], depth - 1)


def _crumbs(node: Any, depth: int) -> Iterator[list[str]]:
    """Names of each BreadcrumbList beside a product, from the widest."""
    if isinstance(node, list) and depth > 0:
        for one in node:
            yield from _crumbs(one, depth - 1)
    elif isinstance(node, dict) and depth > 0:
        if "breadcrumblist" in _types(node):
            steps = [s for s in _many(node.get("itemListElement")) if isinstance(s, dict)]
            steps.sort(key=lambda s: _number(s.get("position")) or 0)
            yield [name for s in steps if (name := _text(s.get("name")) or _text(s.get("item")))]
        else:
            for key in ("@graph", "breadcrumb", "mainEntity", "mainEntityOfPage"):
                if key in node:
                    yield from _crumbs(node[key], depth - 1)


def _row(product: dict[str, Any], crumbs: list[str], known: CategoryMap, notes: Notes, number: int) -> RawRow:
    offers = list(_offers(product.get("offers"), _DEPTH))
    row: dict[str, str] = {}
    texts = {
        "item_id": next((t for k in _IDS if (t := _text(product.get(k)))), None)
        or next((t for o in offers for k in ("sku", "url") if (t := _text(o.get(k)))), None),
        "title": _text(product.get("name")),
        "image": _image(product.get("image")),
        "brand": _text(product.get("brand")) or _text(product.get("manufacturer")),
        "group_id": _text(product.get("inProductGroupWithID")) or _group(product.get("isVariantOf")),
        "updated_at": _text(product.get("dateModified")),
    }
    row |= {k: v for k, v in texts.items() if v}
    states = [availability(s) for o in offers if (s := _text(o.get("availability"), link=True))]
    if states:
        row["availability"] = next((s for want in _IN_STOCK for s in states if s == want), states[0])
    if amount := _price(offers, row.get("availability")):
        row["price"], currency = amount
        if currency:
            row["currency"] = currency
    named = [t for c in _many(product.get("category")) if (t := _category(c))]
    if not named:  # most pages have none, but say where they are; the last step is the product itself
        named = [path] if (path := " > ".join(c for c in crumbs if c != texts["title"])) else []
    if named:
        row["product_type"] = named[0]
    found = _found(named, known)
    audience = next((a for a in _many(product.get("audience")) if isinstance(a, dict)), {})
    sex = _text(audience.get("suggestedGender"), link=True) or _text(product.get("gender"))
    if (oldest := _number(audience.get("suggestedMaxAge"))) is not None and oldest <= 13:
        row["age_group"] = "kids"
    return categorised(row, found, sex, named, known, notes, number)


def _found(named: list[str], known: CategoryMap) -> Found:
    """What all names of a product mean together."""
    each = [known.find(name, None) for name in named] or [known.find(None, None)]
    means = {f.category: f for f in each if f.category}
    if len(means) > 1:
        return Found(None, "category", ", ".join(named), f"names {' and '.join(sorted(means))} at once")
    return next(iter(means.values()), next((f for f in each if f.refused), each[0]))


def _offers(node: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Each offer; of an aggregate its own first, then those inside."""
    for offer in _many(node):
        if isinstance(offer, dict) and depth > 0:
            yield offer
            yield from _offers(offer.get("offers"), depth - 1)


def _price(offers: list[dict[str, Any]], state: str | None) -> tuple[str, str | None] | None:
    """The first price of the offers that have the product's own availability; of any where those have none."""
    same = [o for o in offers if state and availability(_text(o.get("availability"), link=True) or "") == state]
    for offer in (*same, *offers):
        parts = [offer, *(p for p in _many(offer.get("priceSpecification")) if isinstance(p, dict))]
        for part in parts:
            for key in ("price", "lowPrice", "minPrice"):
                if (text := _text(part.get(key))) is not None:
                    amount, currency = price(text)
                    named = next((c for p in parts if (c := _text(p.get("priceCurrency")))), None)
                    return amount, (named or currency or "").upper() or None
    return None


def _types(node: dict[str, Any]) -> set[str]:
    return {re.split(r"[/#:]", t)[-1].casefold() for t in _many(node.get("@type")) if isinstance(t, str)}


def _image(node: Any) -> str | None:
    for one in _many(node):
        if isinstance(one, dict):
            one = next((one[k] for k in ("contentUrl", "url", "@id") if isinstance(one.get(k), str)), None)
        if isinstance(one, str) and one.strip():
            return one.strip()
    return None


def _category(node: Any) -> str | None:
    if isinstance(node, dict):
        return _text(node.get("name")) or _text(node.get("codeValue"))
    return _text(node)


def _group(node: Any) -> str | None:
    first = next((n for n in _many(node) if isinstance(n, dict)), {})
    return next((t for k in ("productGroupID", "@id", "sku", "url") if (t := _text(first.get(k)))), None)


def _text(node: Any, *, link: bool = False) -> str | None:
    """Text of a value: the first of several, the name of an object; with `link`, an object's address."""
    for one in _many(node):
        if isinstance(one, dict):
            one = one.get("@id") if link and "@id" in one else one.get("name") or one.get("@value")
        if isinstance(one, bool) or one is None:
            continue
        if isinstance(one, str | int | float) and (text := str(one).strip()):
            return text
    return None


def _number(node: Any) -> float | None:
    try:
        return float(_text(node) or "")
    except ValueError:
        return None


def _many(node: Any) -> list[Any]:
    return node if isinstance(node, list) else [] if node is None else [node]
