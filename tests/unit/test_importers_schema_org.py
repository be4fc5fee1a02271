"""schema.org Products: one or several of everything, at any depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.catalog.reader import open_catalog
from jobs.catalog.rows import CONTRACT, fault_of

PRODUCT = {
    "@context": "https://schema.org",
    "@type": "Product",
    "sku": "d1",
    "name": "Midi dress",
    "image": "https://x/d.jpg",
    "category": "Apparel & Accessories > Clothing > Dresses",
    "brand": "Acme",
    "offers": {
        "@type": "Offer",
        "price": "19.99",
        "priceCurrency": "eur",
        "availability": "https://schema.org/InStock",
    },
}
WANT = {
    "item_id": "d1",
    "title": "Midi dress",
    "image": "https://x/d.jpg",
    "brand": "Acme",
    "availability": "in_stock",
    "price": "19.99",
    "currency": "EUR",
    "category": "all-body",
    "product_type": "Apparel & Accessories > Clothing > Dresses",
}


def rows(folder: Path, *values: Any, indent: int | None = None) -> list[dict[str, str]]:
    (folder / "p.jsonl").write_text("\n".join(json.dumps(v, indent=indent) for v in values))
    return [dict(r) for r in open_catalog(folder / "p.jsonl").rows]


def contract(row: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in row.items() if k in CONTRACT}


@pytest.mark.parametrize(
    "value",
    [
        PRODUCT,
        [PRODUCT],
        {"@context": "https://schema.org", "@graph": [{"@type": "Organization", "name": "x"}, PRODUCT]},
        {"@type": "WebPage", "mainEntity": PRODUCT},
        {"@type": "Store", "hasOfferCatalog": {"itemListElement": [{"@type": "Offer", "itemOffered": PRODUCT}]}},
        {"@type": "ItemList", "itemListElement": [{"@type": "ListItem", "position": 1, "item": PRODUCT}]},
        {**PRODUCT, "@type": ["Product", "Thing"]},
        {**PRODUCT, "@type": "http://schema.org/Product"},
        {**PRODUCT, "brand": {"@type": "Brand", "name": "Acme"}},
        {**PRODUCT, "brand": [{"name": "Acme"}, {"name": "Other"}]},
        {**PRODUCT, "image": ["https://x/d.jpg", "https://x/e.jpg"]},
        {**PRODUCT, "image": {"@type": "ImageObject", "url": "https://x/d.jpg"}},
        {**PRODUCT, "image": [{"@type": "ImageObject", "contentUrl": "https://x/d.jpg", "url": "https://x/page"}]},
        {**PRODUCT, "offers": [PRODUCT["offers"]]},
        {
            **PRODUCT,
            "offers": {"@type": "AggregateOffer", "lowPrice": 19.99, "priceCurrency": "EUR", "availability": "InStock"},
        },
        {**PRODUCT, "offers": {"@type": "AggregateOffer", "offers": [PRODUCT["offers"]]}},
        {
            **PRODUCT,
            "offers": {
                "availability": {"@id": "schema:InStock"},
                "priceSpecification": [{"price": 19.99, "priceCurrency": "EUR"}],
            },
        },
        {**PRODUCT, "offers": [{"price": 5, "priceCurrency": "EUR", "availability": "SoldOut"}, PRODUCT["offers"]]},
        {**PRODUCT, "category": {"@type": "CategoryCode", "name": PRODUCT["category"], "codeValue": "2271"}},
    ],
)
def test_a_product_is_found_and_read_in_every_form(tmp_path: Path, value: Any) -> None:
    assert [contract(r) for r in rows(tmp_path, value)] == [WANT]


def test_a_document_over_several_lines_is_read_too(tmp_path: Path) -> None:
    assert [contract(r) for r in rows(tmp_path, [PRODUCT, {**PRODUCT, "sku": "d2"}], indent=2)] == [
        WANT,
        {**WANT, "item_id": "d2"},
    ]


def test_variants_take_what_they_lack_from_their_group(tmp_path: Path) -> None:
    group = {
        "@type": "ProductGroup",
        "productGroupID": "g1",
        "name": "Dress",
        "brand": "Acme",
        "category": "Dresses",
        "sku": "G",
        "hasVariant": [
            {"@type": "Product", "sku": "g1-red", "name": "Dress red", "image": "r.jpg"},
            {
                "@type": "Product",
                "sku": "g1-blue",
                "image": "b.jpg",
                "offers": {"price": 5, "availability": "OutOfStock"},
            },
        ],
    }
    got = [contract(r) for r in rows(tmp_path, group)]
    assert [(r["item_id"], r["group_id"], r["title"], r["image"], r["brand"], r["category"]) for r in got] == [
        ("g1-red", "g1", "Dress red", "r.jpg", "Acme", "all-body"),
        ("g1-blue", "g1", "Dress", "b.jpg", "Acme", "all-body"),
    ]
    assert got[1]["availability"] == "out_of_stock"


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ({"sku": None, "productID": 77}, "item_id", "77"),
        ({"sku": None, "@id": "https://x/#p"}, "item_id", "https://x/#p"),
        ({"sku": None, "offers": {"url": "https://x/p", "price": 1}}, "item_id", "https://x/p"),
        ({"isVariantOf": {"@type": "ProductGroup", "productGroupID": "g7"}}, "group_id", "g7"),
        ({"inProductGroupWithID": "g8"}, "group_id", "g8"),
        ({"audience": {"suggestedGender": "https://schema.org/Female"}}, "department", "Female"),
        ({"audience": {"suggestedGender": "male", "suggestedMaxAge": 12}}, "age_group", "kids"),
        ({"dateModified": "2026-01-02"}, "updated_at", "2026-01-02"),
        ({"category": ["Women", "Dresses"]}, "category", "all-body"),
        ({"category": ["Women", "Dresses"]}, "department", "women"),
        ({"category": "Women/Dresses"}, "category", "all-body"),
        ({"category": "Women/Dresses"}, "department", "women"),
    ],
)
def test_a_property_is_understood(tmp_path: Path, change: dict[str, Any], column: str, value: str) -> None:
    (got,) = rows(tmp_path, {**PRODUCT, **change})
    assert got.get(column) == value


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ({"@type": "BreadcrumbList"}, "@type", "no Product"),
        ({"@context": "x", "@graph": []}, "@type", "no Product"),
        ({**PRODUCT, "category": "Furniture > Sofas"}, "category", "no product to wear"),
        ({**PRODUCT, "category": None}, "category", "is empty"),
        ({**PRODUCT, "category": ["Dresses", "Shoes"]}, "category", "names all-body and shoes at once"),
    ],
)
def test_a_value_without_a_garment_says_so(tmp_path: Path, value: Any, field: str, reason: str) -> None:
    first, second = rows(tmp_path, value, PRODUCT)
    told = fault_of(first)
    assert told is not None
    assert told[0] == field and reason in told[2]
    assert fault_of(second) is None


CRUMBS = {
    "@type": "BreadcrumbList",
    "itemListElement": [
        {"@type": "ListItem", "position": 3, "name": "Midi dress"},
        {"@type": "ListItem", "position": 1, "item": {"@id": "/", "name": "Home"}},
        {"@type": "ListItem", "position": 2, "name": "Women's dresses"},
    ],
}


@pytest.mark.parametrize(
    "value",
    [
        {"@graph": [CRUMBS, {**PRODUCT, "category": None}]},
        [{**PRODUCT, "category": None}, CRUMBS],
        {"@type": "WebPage", "breadcrumb": CRUMBS, "mainEntity": {**PRODUCT, "category": None}},
    ],
)
def test_a_product_without_a_category_has_that_of_its_breadcrumb(tmp_path: Path, value: Any) -> None:
    (got,) = rows(tmp_path, value)
    assert (got["category"], got["product_type"], got["department"]) == ("all-body", "Home > Women's dresses", "women")


def test_objects_within_objects_end_somewhere(tmp_path: Path) -> None:
    deep: Any = PRODUCT
    for _ in range(50):
        deep = {"@type": "WebPage", "mainEntity": deep}
    (got,) = rows(tmp_path, deep)
    assert fault_of(got) is not None
