"""The drawn sample: the same every time, left alone when it is there, and true to the catalogue contract."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from jobs.errors import DataError, SettingsError
from jobs.sample.draw import COLUMNS, draw_sample, read_catalog
from jobs.sample.nights import second_night
from jobs.sample.picture import picture
from jobs.sample.products import plan_products
from jobs.sample.shapes import SHAPES
from schemas.tables import AVAILABILITY, CATALOG_OPTIONAL, CATALOG_REQUIRED
from schemas.taxonomy import load_taxonomy

ITEMS = 60
TAXONOMY = load_taxonomy()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "shop"
    draw_sample(folder, ITEMS)
    return folder


def _digests(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def _mtimes(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in sorted([folder, *folder.rglob("*")])}


def test_same_seed_gives_the_same_bytes_of_every_file(sample: Path, tmp_path: Path) -> None:
    again = draw_sample(tmp_path / "again", ITEMS)
    assert _digests(again.folder) == _digests(sample)


def test_another_seed_gives_other_products() -> None:
    assert [p.row() for p in plan_products(ITEMS, 7)] != [p.row() for p in plan_products(ITEMS, 8)]


def test_a_complete_sample_is_left_alone(sample: Path) -> None:
    before = _mtimes(sample)
    summary = draw_sample(sample, ITEMS)
    assert not summary.drawn
    assert _mtimes(sample) == before


@pytest.mark.parametrize("damage", ["image gone", "marker gone", "other seed"])
def test_an_incomplete_or_other_sample_is_drawn_again(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "shop"
    first = draw_sample(folder, 20)
    if damage == "image gone":
        next((folder / "images").iterdir()).unlink()
    elif damage == "marker gone":
        (folder / "sample.json").write_text("not json")
    again = draw_sample(folder, 20, seed=8 if damage == "other seed" else 7)
    assert again.drawn
    assert (again.fingerprint == first.fingerprint) is (damage != "other seed")
    assert [p.name for p in tmp_path.iterdir()] == ["shop"], "nothing is left beside it"


def test_a_folder_that_is_no_sample_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(SettingsError, match="holds no sample"):
        draw_sample(tmp_path, 20, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "two years of work"


def test_columns_are_those_of_the_contract(sample: Path) -> None:
    assert set(COLUMNS) == {*CATALOG_REQUIRED, *CATALOG_OPTIONAL} - {"season", "tags", "markets"}
    assert tuple(read_catalog(sample)[0]) == COLUMNS


@pytest.mark.parametrize("items", [ITEMS, 660])
def test_rows_resolve_in_the_taxonomy_and_three_are_faulty(items: int) -> None:
    products = plan_products(items, 7)
    rows = [p.row() for p in products]
    assert len({r["item_id"] for r in rows}) == len(rows) == items
    assert sum(r["category"] == "other" for r in rows) == 1
    assert Counter(p.fault for p in products if p.fault) == {
        "other_category": 1,
        "missing_image": 1,
        "truncated_image": 1,
    }
    seen = {TAXONOMY.category(r["category"], r["product_type"]) for r in rows if r["category"] != "other"}
    assert seen == set(TAXONOMY.categories)
    for p, r in zip(products, rows, strict=True):
        assert TAXONOMY.department(r["department"], r["age_group"]) == p.department
        assert r["availability"] in AVAILABILITY
        assert r["currency"] == "EUR"
        assert float(r["price"]) > 0


def test_the_full_sample_has_all_departments_and_about_8_in_100_sold_out() -> None:
    rows = [p.row() for p in plan_products(660, 7)]
    assert {r["department"] for r in rows} == set(TAXONOMY.departments)
    stock = Counter(r["availability"] for r in rows)
    assert 0.05 < stock["out_of_stock"] / len(rows) < 0.12
    assert stock["preorder"] > 0


def test_variants_of_a_group_differ_in_colour_only() -> None:
    groups: dict[str, list[tuple[object, ...]]] = {}
    colours: dict[str, list[str]] = {}
    for p in plan_products(660, 7):
        groups.setdefault(p.group_id, []).append((p.shape, p.department, p.pattern, p.brand, p.price, p.design))
        colours.setdefault(p.group_id, []).append(p.colour.name)
    assert all(len(set(g)) == 1 for g in groups.values())
    assert all(len(set(c)) == len(c) for c in colours.values())
    assert sum(len(g) > 1 for g in groups.values()) > 100


def test_every_healthy_product_has_a_picture_on_white_and_the_faulty_ones_fail_as_meant(sample: Path) -> None:
    for p in plan_products(ITEMS, 7):
        file = sample / p.image
        if p.fault == "missing_image":
            assert not file.exists()
        elif p.fault == "truncated_image":
            with pytest.raises(OSError, match="truncated"), Image.open(file) as im:
                im.load()
        else:
            with Image.open(file) as im:
                assert im.size == (p.width, p.height)
                assert 300 <= p.width <= 1000
                assert min(im.convert("L").getpixel((2, 2)), im.convert("L").getpixel((p.width - 3, 2))) > 245


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.product_type)
def test_every_silhouette_fills_its_picture_and_stays_inside(shape: object) -> None:
    product = next(
        (p for seed in (7, 8, 9, 10, 11, 12) for p in plan_products(660, seed, faults=False) if p.shape == shape), None
    )
    assert product, "the catalogue never shows this silhouette"
    with Image.open(io.BytesIO(picture(product))) as im:
        ink = im.convert("L").point(lambda v: 255 * (v < 242)).getbbox()
        assert ink
        w, h = im.size
        assert ink[2] - ink[0] > 0.2 * w
        assert ink[3] - ink[1] > 0.2 * w
        assert ink[0] > 0
        assert ink[1] > 0
        assert ink[2] < w
        assert ink[3] < h


def test_too_few_products_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least 20"):
        draw_sample(tmp_path / "x", 3)


def test_second_night_changes_what_it_says_and_nothing_else(sample: Path, tmp_path: Path) -> None:
    before = _mtimes(sample)
    night = second_night(sample, tmp_path / "night", new_items=5, departed=4, repriced=6, restocked=3, reshot=2)
    assert _mtimes(sample) == before
    old = {r["item_id"]: r for r in read_catalog(sample)}
    new = {r["item_id"]: r for r in read_catalog(night.folder)}
    assert set(new) - set(old) == set(night.new)
    assert set(old) - set(new) == set(night.departed)
    assert (len(night.new), len(night.departed)) == (5, 4)
    both = set(old) & set(new)
    assert {i for i in both if old[i]["price"] != new[i]["price"]} == set(night.repriced)
    assert {i for i in both if old[i]["availability"] != new[i]["availability"]} == set(night.restocked)
    there = [i for i in both if (sample / old[i]["image"]).exists()]
    redrawn = {
        i for i in there if (sample / old[i]["image"]).read_bytes() != (night.folder / new[i]["image"]).read_bytes()
    }
    assert redrawn == set(night.reshot)
    assert all((night.folder / new[i]["image"]).exists() for i in night.new)


def test_second_night_is_deterministic_and_a_third_may_follow(sample: Path, tmp_path: Path) -> None:
    options = {"new_items": 3, "departed": 2, "repriced": 4, "restocked": 2, "reshot": 1}
    a = second_night(sample, tmp_path / "a", **options)
    b = second_night(sample, tmp_path / "b", **options)
    assert _digests(a.folder) == _digests(b.folder)
    c = second_night(a.folder, tmp_path / "c", **options)
    assert len(set(a.new) | set(c.new)) == 6


def test_second_night_says_what_is_wrong(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="draw a sample first"):
        second_night(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(SettingsError, match="is the sample itself"):
        second_night(sample, sample)
