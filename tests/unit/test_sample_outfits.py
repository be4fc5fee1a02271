"""The outfit rule holds for every outfit, and the files are in the layout of Polyvore Outfits."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from jobs.sample.outfits import clash, same_wardrobe, violations
from jobs.sample.palette import CLOTH, RANGES, harmonise
from jobs.sample.polyvore import write_outfits
from jobs.sample.products import Product, plan_products

PRODUCTS = {p.item_id: p for p in plan_products(660, 7)}
SPLITS = ("nondisjoint", "disjoint")
PARTS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("outfits") / "outfits"
    write_outfits(list(PRODUCTS.values()), out, 7)
    return out


def _sets(folder: Path, split: str, part: str) -> dict[str, list[Product]]:
    raw = json.loads((folder / split / f"{part}.json").read_text())
    for s in raw:
        assert [i["index"] for i in s["items"]] == list(range(1, len(s["items"]) + 1))
    return {s["set_id"]: [PRODUCTS[i["item_id"]] for i in s["items"]] for s in raw}


def _product(sets: dict[str, list[Product]], name: str) -> Product:
    set_id, place = name.split("_")
    return sets[set_id][int(place) - 1]


def test_harmony_is_symmetric_and_keeps_undertones_apart() -> None:
    everything = [c for r in RANGES.values() for c in r]
    for a, b in combinations(everything, 2):
        assert harmonise(a, b) == harmonise(b, a)
        assert a.undertone == b.undertone or not harmonise(a, b)
    named = {c.name: c for c in CLOTH}
    assert harmonise(named["Rust"], named["Petrol"]), "complementary"
    assert harmonise(named["Sky blue"], named["Cobalt"]), "analogous"
    assert harmonise(named["Navy"], named["Raspberry"]), "neutral with accent"
    assert not harmonise(named["Mint"], named["Lilac"]), "neither"
    assert not harmonise(named["Black"], named["Camel"]), "undertones"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("part", PARTS)
def test_every_outfit_follows_the_rule_and_is_there_once(folder: Path, split: str, part: str) -> None:
    sets = _sets(folder, split, part)
    assert {i: violations(o) for i, o in sets.items() if violations(o)} == {}
    assert len({frozenset(p.item_id for p in o) for o in sets.values()}) == len(sets)
    assert not any(p.fault for o in sets.values() for p in o)


def test_the_sample_has_the_promised_number_of_outfits(folder: Path) -> None:
    assert [len(_sets(folder, "nondisjoint", part)) for part in PARTS] == [700, 100, 150]
    assert [len(_sets(folder, "disjoint", part)) for part in PARTS] == [300, 50, 80]


def test_parts_share_no_outfit_and_disjoint_parts_no_design(folder: Path) -> None:
    keys = [{frozenset(p.item_id for p in o) for o in _sets(folder, "nondisjoint", part).values()} for part in PARTS]
    assert all(not a & b for a, b in combinations(keys, 2))
    groups = [{p.group_id for o in _sets(folder, "disjoint", part).values() for p in o} for part in PARTS]
    assert all(not a & b for a, b in combinations(groups, 2))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("part", PARTS)
def test_a_question_has_one_right_answer_and_three_that_break_the_rule(folder: Path, split: str, part: str) -> None:
    sets = _sets(folder, split, part)
    questions = json.loads((folder / split / f"fill_in_blank_{part}.json").read_text())
    assert len(questions) >= 0.7 * len(sets)
    right_at = set()
    for q in questions:
        own = q["question"][0].split("_")[0]
        assert len(q["answers"]) == len(set(q["answers"])) == 4
        right = [a for a in q["answers"] if a.split("_")[0] == own]
        assert right == [f"{own}_{q['blank_position']}"]
        assert len(q["question"]) == len(sets[own]) - 1
        assert right[0] not in q["question"]
        right_at.add(q["answers"].index(right[0]))
        rest = [_product(sets, n) for n in q["question"]]
        answer = _product(sets, right[0])
        for a in q["answers"]:
            p = _product(sets, a)
            assert p.category == answer.category
            assert same_wardrobe(p.department, answer.department)
            assert (a == right[0]) is not any(clash(p, r) for r in rest)
    assert right_at == {0, 1, 2, 3}, "the right answer's place gives nothing away"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("part", PARTS)
def test_compatibility_lines_are_true_to_their_label(folder: Path, split: str, part: str) -> None:
    sets = _sets(folder, split, part)
    labels = []
    for line in (folder / split / f"compatibility_{part}.txt").read_text().splitlines():
        label, *names = line.split()
        items = [_product(sets, n) for n in names]
        assert (label == "1") is not violations(items)
        labels.append(label)
    assert labels.count("1") == len(sets)
    assert labels.count("0") >= 0.8 * len(sets)


def test_metadata_and_categories_belong_together(folder: Path) -> None:
    meta = json.loads((folder / "polyvore_item_metadata.json").read_text())
    lines = [x.split(",") for x in (folder / "categories.csv").read_text().splitlines()]
    fine = {number: (name, semantic) for number, name, semantic in lines}
    assert set(meta) == {i for i, p in PRODUCTS.items() if p.fault != "other_category"}
    for item, m in meta.items():
        assert set(m) == {"title", "semantic_category", "category_id", "description", "url_name", "related"}
        assert fine[m["category_id"]] == (PRODUCTS[item].shape.product_type, m["semantic_category"])
        assert m["semantic_category"] == PRODUCTS[item].category
    titles = json.loads((folder / "polyvore_outfit_titles.json").read_text())
    assert set(titles) == {s for split in SPLITS for part in PARTS for s in _sets(folder, split, part)}


def test_a_small_sample_still_has_outfits_in_every_part(tmp_path: Path) -> None:
    counts = write_outfits(plan_products(60, 7), tmp_path / "o", 7)
    assert all(counts[f"nondisjoint/{part}"] >= 4 for part in PARTS)
