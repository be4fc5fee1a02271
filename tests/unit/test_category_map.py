"""Names of other people mean a category by the longest match that is known, or nothing at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from schemas.category_map import PATH, category_map
from schemas.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
KNOWN = category_map(TAXONOMY)


@pytest.mark.parametrize(
    ("google", "category"),
    [
        ("212", "tops"),
        ("212 - Apparel & Accessories > Clothing > Shirts & Tops", "tops"),
        ("Apparel & Accessories > Clothing > Shirts & Tops", "tops"),
        ("APPAREL &amp; ACCESSORIES>CLOTHING>SHIRTS and TOPS", "tops"),
        ("Apparel & Accessories > Clothing > Shirts & Tops > T-Shirts", "tops"),
        ("Apparel & Accessories > Clothing > Outerwear > Vests", "outerwear"),
        ("Apparel & Accessories > Clothing > Outerwear > Rain Pants", "bottoms"),
        ("Apparel & Accessories > Clothing > Pants", "bottoms"),
        ("207", "bottoms"),
        ("1581", "bottoms"),
        ("2271", "all-body"),
        ("5598", "outerwear"),
        ("187", "shoes"),
        ("188", "jewellery"),
        ("201", "accessories"),
        ("3032", "bags"),
        ("178", "sunglasses"),
        ("173", "hats"),
        ("177", "scarves"),
        ("211", "swimwear"),
        ("214", "underwear"),
        ("169", "accessories"),
        ("100", "bags"),
        ("Apparel & Accessories > Clothing > Uniforms > White Coats", "outerwear"),
        ("Apparel & Accessories > Clothing > Activewear > Yoga Pants", "bottoms"),  # a level that Google lacks
    ],
)
def test_googles_names_and_numbers(google: str, category: str) -> None:
    assert KNOWN.find(google, None).category == category


@pytest.mark.parametrize(
    ("product_type", "category"),
    [
        ("Dresses", "all-body"),
        ("Women > Ankle Boots", "shoes"),
        ("Women/Shoes/Boots", "shoes"),
        ("T-Shirts", "tops"),
        ("Men's Denim Jackets", "outerwear"),
        ("Swim Shorts", "swimwear"),
        ("Shorts", "bottoms"),
        ("Shirt dress", "all-body"),
        ("Dress shirt", "tops"),
        ("Dress shoes", "shoes"),
        ("Belt bag", "bags"),
        ("Dress with belt", "all-body"),
        ("Jackets & Coats", "outerwear"),
        ("Bikini tops", "swimwear"),
        ("Scarves", "scarves"),
        ("Clothing > Women", None),
        ("Jewelry box", None),
        ("Tops & Bottoms", None),
        ("Radio straps", None),
        ("Suits", None),
        ("Dog coats", None),
        ("Women > Dresses > Midi", "all-body"),
        ("Sale | Dresses", "all-body"),
        ("Dress pattern", None),
        ("Beauty", None),
    ],
)
def test_free_product_types(product_type: str, category: str | None) -> None:
    found = KNOWN.find(None, product_type)
    assert found.category == category
    assert category or (found.field, found.value) == ("product_type", product_type)


@pytest.mark.parametrize(
    ("google", "product_type", "category", "reason"),
    [
        ("Apparel & Accessories > Clothing", "Jeans", "bottoms", ""),
        ("1604", "Suits", None, "maps to no category"),
        ("1594", None, None, "too wide"),
        ("Home & Garden > Decor", "Dresses", None, "no product to wear"),
        ("1933", None, None, "no product to wear"),
        ("other", "Jeans", None, "no product to wear"),
        ("212", "Jeans", "tops", ""),  # Google's own is the surer of the two
        (None, "Tops & Bottoms", None, "names bottoms and tops at once"),
        (None, None, None, "is empty"),
        (" ", "", None, "is empty"),
    ],
)
def test_which_of_the_two_decides(
    google: str | None, product_type: str | None, category: str | None, reason: str
) -> None:
    found = KNOWN.find((google or "").strip() or None, product_type)
    assert found.category == category
    assert reason in found.reason


def test_the_taxonomys_own_names_win() -> None:
    taxonomy = replace(
        TAXONOMY, aliases={**TAXONOMY.aliases, "suits": "all-body", "apparel & accessories > clothing > suits": "tops"}
    )
    known = category_map(taxonomy)
    assert known.find(None, "Men > Business suits").category == "all-body"
    assert known.find("Apparel & Accessories > Clothing > Suits", None).category == "tops"
    assert known.find(None, "Bikini Pantie").category == "swimwear"


def test_a_category_that_the_taxonomy_lacks_is_told() -> None:
    smaller = replace(TAXONOMY, titles={c: t for c, t in TAXONOMY.titles.items() if c != "sunglasses"})
    found = category_map(smaller).find("178", None)
    assert found.category is None and "'sunglasses', which is no category of this taxonomy" in found.reason


@pytest.mark.parametrize(
    ("text", "department"),
    [
        ("Women > Dresses", "women"),
        ("Men's shirts", "men"),
        ("Men & Women", "unisex"),
        ("Girls’ tops", "girls"),
        ("Boys and girls", "kids"),
        ("Baby > Girls", "girls"),
        ("Kids", "kids"),
        ("Women > Girls", "girls"),
        ("Dresses", None),
        ("Menthol tops", None),
    ],
)
def test_who_wears_it_in_so_many_words(text: str, department: str | None) -> None:
    assert KNOWN.department(text) == department


def test_the_file_names_categories_of_the_taxonomy_and_every_number_once() -> None:
    raw = yaml.safe_load(PATH.read_text())
    named = {e["category"] for e in raw["google"]} | set(raw["words"])
    assert named - {None} <= set(TAXONOMY.titles)
    assert set(raw["department_words"]) <= set(TAXONOMY.departments)
    numbers = [n for e in (*raw["google"], *raw["refused"]) for n in e["ids"]]
    assert len(numbers) == len(set(numbers))


def test_a_hostile_value_is_looked_at_in_time() -> None:
    for value in ("a > " * 100_000, "( " * 100_000, "&" * 100_000, " and " * 50_000):
        assert KNOWN.find(value, value).category is None
