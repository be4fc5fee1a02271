"""Shopify's CSV: several rows to a colourway, by either header."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from jobs.catalog.reader import Reading, open_catalog
from jobs.catalog.rows import CONTRACT, ROW, fault_of
from jobs.catalog.shopify import item_id

LEGACY = {
    "handle": "Handle",
    "title": "Title",
    "vendor": "Vendor",
    "category": "Product Category",
    "type": "Type",
    "tags": "Tags",
    "published": "Published",
    "name1": "Option1 Name",
    "value1": "Option1 Value",
    "name2": "Option2 Name",
    "value2": "Option2 Value",
    "sku": "Variant SKU",
    "tracker": "Variant Inventory Tracker",
    "qty": "Variant Inventory Qty",
    "policy": "Variant Inventory Policy",
    "price": "Variant Price",
    "image": "Image Src",
    "position": "Image Position",
    "variant_image": "Variant Image",
    "gift": "Gift Card",
    "status": "Status",
    "google": "Google Shopping / Google Product Category",
    "gender": "Google Shopping / Gender",
    "age": "Google Shopping / Age Group",
}
NEW = {
    **LEGACY,
    "handle": "URL handle",
    "category": "Product category",
    "published": "Published on online store",
    "name1": "Option1 name",
    "value1": "Option1 value",
    "name2": "Option2 name",
    "value2": "Option2 value",
    "sku": "SKU",
    "tracker": "Inventory tracker",
    "qty": "Inventory quantity",
    "policy": "Continue selling when out of stock",
    "price": "Price",
    "image": "Product image URL",
    "position": "Image position",
    "variant_image": "Variant image URL",
    "gift": "Gift card",
    "google": "Google Shopping / Google product category",
    "age": "Google Shopping / Age group",
}
FIRST = {
    "handle": "tee",
    "title": "Tee",
    "vendor": "Acme",
    "type": "T-Shirts",
    "name1": "Color",
    "name2": "Size",
    "image": "p.jpg",
}


def size(colour: str, what: str, qty: int = 5, **more: str) -> dict[str, str]:
    return {
        "handle": "tee",
        "value1": colour,
        "value2": what,
        "tracker": "shopify",
        "qty": str(qty),
        "policy": "deny",
        "price": "9.90",
        **more,
    }


def opened(folder: Path, rows: list[dict[str, str]], header: dict[str, str] = LEGACY) -> Reading:
    names = [n for k, n in header.items() if any(k in r for r in rows)]
    with (folder / "p.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, names)
        writer.writeheader()
        writer.writerows({header[k]: v for k, v in r.items()} for r in rows)
    return open_catalog(folder / "p.csv")


def taken(reading: Reading) -> list[dict[str, str]]:
    return [{k: v for k, v in r.items() if k in CONTRACT} for r in reading.rows]


@pytest.mark.parametrize("header", [LEGACY, NEW], ids=["legacy", "new"])
def test_sizes_are_collapsed_and_colours_kept(tmp_path: Path, header: dict[str, str]) -> None:
    rows = [
        {**FIRST, **size("Red", "S", 0)},
        size("Red", "M", variant_image="red.jpg"),
        size("Blue", "S", 0, variant_image="blue.jpg"),
        size("blue", "M", 0),
        {"handle": "tee", "image": "second.jpg", "position": "2"},
    ]
    reading = opened(tmp_path, rows, header)
    got = list(reading.rows)
    assert [{k: v for k, v in r.items() if k in CONTRACT} for r in got] == [
        {
            "item_id": "tee--red",
            "group_id": "tee",
            "brand": "Acme",
            "product_type": "T-Shirts",
            "title": "Tee – Red",
            "image": "red.jpg",
            "price": "9.90",
            "category": "tops",
        },
        {
            "item_id": "tee--blue",
            "group_id": "tee",
            "brand": "Acme",
            "product_type": "T-Shirts",
            "title": "Tee – Blue",
            "image": "blue.jpg",
            "price": "9.90",
            "category": "tops",
            "availability": "out_of_stock",
        },
    ]
    assert [r[ROW] for r in got] == ["1", "3"]
    assert reading.notes.lines() == [
        "rows that are further sizes of a colourway: 2",
        "rows that only add a picture to their product: 1",
    ]


def test_an_id_hangs_on_neither_sku_nor_the_order_of_rows(tmp_path: Path) -> None:
    rows = [size("Red", "S", sku=""), size("Blue", "S", sku="B-1"), size("Red", "M", sku="R-2")]
    one = taken(opened(tmp_path, [FIRST | rows[0], *rows[1:]]))
    other = taken(opened(tmp_path, [FIRST | rows[1], rows[2], rows[0]]))
    assert sorted(r["item_id"] for r in one) == sorted(r["item_id"] for r in other) == ["tee--blue", "tee--red"]


@pytest.mark.parametrize(
    ("first", "column", "value"),
    [
        ({"name1": "Title", "value1": "Default Title"}, "item_id", "tee"),
        ({"name1": "Size", "value1": "M"}, "item_id", "tee"),
        ({"name1": "Farbe", "value1": "Grün"}, "item_id", "tee--grün"),
        ({"name1": "Size", "value1": "M", "name2": "Colour", "value2": "Red"}, "item_id", "tee--red"),
        ({"name1": "Title", "value1": "Default Title"}, "title", "Tee"),
        ({"value1": "Red", "title": "Red tee"}, "title", "Red tee"),
        ({"tags": "new, summer 26,,a|b"}, "tags", "new|summer 26|a/b"),
        ({"tags": "women, gift for men"}, "department", "women"),
        ({"type": "Kids' T-Shirts"}, "department", "kids"),
        ({"gender": "Male", "age": "kids"}, "department", "Male"),
        ({"google": "187", "type": "T-Shirts"}, "category", "shoes"),
        ({"google": "1604", "type": "T-Shirts"}, "category", "tops"),
        ({"category": "Apparel & Accessories > Clothing > Clothing Tops > Hoodies", "type": ""}, "category", "tops"),
        ({"category": "Apparel & Accessories > Clothing > Activewear > Sweatpants", "type": ""}, "category", "bottoms"),
        ({"price": "1,299.00"}, "price", "1299.00"),
        ({"qty": "0"}, "availability", "out_of_stock"),
        ({"qty": "-3"}, "availability", "out_of_stock"),
        ({"qty": "0", "policy": "continue"}, "availability", None),
        ({"qty": "0", "policy": "TRUE"}, "availability", None),
        ({"qty": "0", "tracker": ""}, "availability", None),
        ({"image": "", "variant_image": ""}, "image", None),
    ],
)
def test_a_field_is_understood(tmp_path: Path, first: dict[str, str], column: str, value: str | None) -> None:
    (got,) = taken(opened(tmp_path, [{**FIRST, **size("", "S"), **first}]))
    assert got.get(column) == value


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"handle": ""}, "handle", "is empty"),
        ({"title": ""}, "handle", "no title"),
        ({"gift": "TRUE"}, "gift_card", "no product to wear"),
        ({"type": "Suits"}, "product_type", "maps to no category"),
        ({"google": "Food, Beverages & Tobacco > Food"}, "category", "no product to wear"),
    ],
)
def test_a_product_that_cannot_be_taken_says_why(tmp_path: Path, row: dict[str, str], field: str, reason: str) -> None:
    got = list(
        opened(tmp_path, [{**FIRST, **size("Red", "S"), **row}, {**FIRST, **size("Red", "S"), "handle": "b"}]).rows
    )
    told = fault_of(got[0])
    assert told is not None
    assert told[0] == field and reason in told[2]
    assert fault_of(got[1]) is None


@pytest.mark.parametrize("row", [{"status": "draft"}, {"status": "archived"}, {"published": "FALSE"}])
def test_what_is_not_on_sale_is_passed_over_and_counted(tmp_path: Path, row: dict[str, str]) -> None:
    reading = opened(tmp_path, [{**FIRST, **size("Red", "S"), **row}])
    assert list(reading.rows) == []
    assert reading.notes.lines() == ["products passed over because they are drafts, archived or not published: 1"]


def test_without_a_column_of_stock_all_is_in_stock_and_said(tmp_path: Path) -> None:
    row = {k: v for k, v in (FIRST | size("Red", "S")).items() if k != "qty"}
    reading = opened(tmp_path, [row])
    assert "availability" not in taken(reading)[0]
    assert "no column of stock" in reading.notes.lines()[0]


def test_the_first_picture_is_that_of_the_lowest_position(tmp_path: Path) -> None:
    rows = [
        {**FIRST, **size("Red", "S"), "image": "b.jpg", "position": "2"},
        {"handle": "tee", "image": "a.jpg", "position": "1"},
    ]
    assert [r["image"] for r in taken(opened(tmp_path, rows))] == ["a.jpg"]


def test_colours_that_read_alike_have_ids_of_their_own() -> None:
    colours = [None, "Red Blue", "Red/Blue", "Red-Blue", "Red & Blue", "RED  blue", "Röd", "!?", "红"]
    ids = [item_id("tee", c) for c in colours]
    assert ids[1] == ids[5] == "tee--red-blue"
    assert len(set(ids)) == len(colours) - 1
    assert ids[0] == "tee"
