"""The attributes of a Google Merchant feed, whatever the file they stand in.

https://support.google.com/merchants/answer/7052112. Names in any case, with blanks or underscores, with or without
`g:`. Sizes stay what they are in a feed: items of their own, of one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from jobs.catalog.rows import BAD_CELLS, FAULT, Notes, RawRow, fault
from jobs.catalog.values import availability, gender, price
from schemas.category_map import CategoryMap, Found

_COPIED = {
    "id": "item_id", "title": "title", "image_link": "image", "product_type": "product_type", "brand": "brand",
    "item_group_id": "group_id", "age_group": "age_group",
}  # fmt: skip


def attribute(name: str) -> str:
    """A header's name as the specification writes it: "g:Image Link" is image_link."""
    name = re.sub(r"\s*\[.*\]$|\(.*\)$", "", name.strip().casefold())
    return re.sub(r"[\s-]+", "_", name.rsplit(":", 1)[-1].strip())


def is_google(names: Iterable[str]) -> bool:
    """Whether a header is a feed's: an id and a picture, by the specification's names."""
    return {"id", "image_link"} <= set(map(attribute, names))


def google_rows(records: Iterable[tuple[int, RawRow]], known: CategoryMap, notes: Notes) -> Iterator[RawRow]:
    """Feed items by the contract's names."""
    names: dict[str, str] = {}
    for number, record in records:
        given: dict[str, str] = {}
        for key, value in record.items():
            if key in (FAULT, BAD_CELLS):
                given[key] = value
                continue
            if (name := names.get(key)) is None:
                if len(names) > 10_000:
                    names.clear()
                name = names[key] = attribute(key)
            given.setdefault(name, value)
        yield google_row(given, known, notes, number)


def google_row(given: RawRow, known: CategoryMap, notes: Notes, number: int) -> RawRow:
    """One item, its attributes by the specification's names."""
    row = {to: given[name] for name, to in _COPIED.items() if name in given}
    if "availability" in given:
        row["availability"] = availability(given["availability"])
    # A sale with dates would hang on the hour at which a feed is read; one without is simply the price.
    on_sale = "sale_price" in given and "sale_price_effective_date" not in given
    if amount := given["sale_price"] if on_sale else given.get("price"):
        row["price"], currency = price(amount)
        if currency:
            row["currency"] = currency
    for key in (BAD_CELLS, FAULT):
        if key in given:
            return {**row, key: given[key]}
    found = known.find(given.get("google_product_category"), given.get("product_type"))
    return categorised(row, found, given.get("gender"), (given.get("product_type"),), known, notes, number)


def categorised(
    row: dict[str, str],
    found: Found,
    sex: str | None,
    texts: Iterable[str | None],
    known: CategoryMap,
    notes: Notes,
    number: int,
) -> RawRow:
    """A row with its category, or the fault that it has none; with the department that it or its texts name."""
    if found.category is None:
        if found.value is not None and not found.refused:
            notes.count_unmapped(found.field, found.value, number)
        return {**row, FAULT: fault(found.field, found.value, found.reason)}
    row["category"] = found.category
    if found.age_group:
        row.setdefault("age_group", found.age_group)
    if sex:
        row["department"] = gender(sex)
    named = known.department(*texts)
    child = named in ("girls", "boys", "kids")
    if named and "department" not in row:
        # "kids" in a product type gives way to a column that says adult
        if not (child and row.get("age_group", "").casefold() == "adult"):
            row["department"] = named
    elif child and "age_group" not in row:
        row["age_group"] = "kids"
    return row
