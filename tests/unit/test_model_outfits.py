"""The reader of the Polyvore layout, and the sampler."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medal_model.outfits import (
    Item,
    Judged,
    Outfits,
    OutfitsError,
    Question,
    blamed,
    check_askable,
    read_outfits,
    strict_disjoint,
    titles,
    without,
)
from medal_model.sampling import TripletSampler
from medal_model.settings_file import ConfigError


def _category(name: str, product_type: str | None = None) -> str:
    if name == "other":
        raise KeyError("category 'other' is refused")
    return name


def _world() -> dict[str, Any]:
    """Index gaps (set 1 has no index 2), a refused item (x), the right answer not first."""
    items = {f"t{n}": "1" for n in range(3)} | {f"s{n}": "2" for n in range(3)} | {"x": "3"}
    train = [
        {"set_id": "1", "items": [{"item_id": "t0", "index": 1}, {"item_id": "s0", "index": 3}]},
        {"set_id": "2", "items": [{"item_id": "t1", "index": 1}, {"item_id": "x", "index": 2}]},
    ]
    held = [
        {"set_id": "7", "items": [{"item_id": "t1", "index": 1}, {"item_id": "s1", "index": 4}]},
        {"set_id": "8", "items": [{"item_id": n, "index": i} for i, n in enumerate(("t2", "s2", "x"), 1)]},
    ]
    ask = [
        {"question": ["7_1"], "blank_position": 4, "answers": ["8_2", "7_4"]},
        {"question": ["8_1", "8_3"], "blank_position": 2, "answers": ["8_2", "7_4"]},
        {"question": ["8_3"], "blank_position": 2, "answers": ["8_2", "7_4"]},
        {"question": ["8_1"], "blank_position": 3, "answers": ["8_3", "7_4"]},
    ]
    return {
        "polyvore_item_metadata.json": {i: {"category_id": c, "semantic_category": ""} for i, c in items.items()},
        "categories.csv": "1,Shirt,tops\n2,Boots,shoes\n3,Carpet,other\n",
        "nondisjoint/train.json": train,
        "nondisjoint/valid.json": held,
        "nondisjoint/test.json": [],
        "nondisjoint/fill_in_blank_valid.json": ask,
        "nondisjoint/fill_in_blank_test.json": [],
        "nondisjoint/compatibility_valid.txt": "1 7_1 7_4\n0 8_1 7_4\n0 8_1 8_3\n",
        "nondisjoint/compatibility_test.txt": "",
    }


def _write(root: Path, world: dict[str, Any]) -> Path:
    for name, content in world.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def test_reads_sets_questions_and_judged(tmp_path: Path) -> None:
    got = read_outfits(_write(tmp_path, _world()), "nondisjoint", _category)
    assert got.sets["train"] == (("t0", "s0"),)
    assert got.sets["valid"] == (("t1", "s1"), ("t2", "s2"))
    assert [(q.outfit, q.answers, q.right) for q in got.questions["valid"]] == [
        (("t1",), ("s2", "s1"), 1),
        (("t2",), ("s2", "s1"), 0),
    ]
    assert [(j.outfit, j.compatible) for j in got.judged["valid"]] == [(("t1", "s1"), True), (("t2", "s1"), False)]
    assert got.categories == ("shoes", "tops")
    assert got.items["t0"] == Item("t0", "tops", "1")
    assert got.dropped == {"category 'other' is refused": 1}
    assert got.left_out == {
        "train: outfits with fewer than two kept items": 1,
        "fitb_valid: no kept item in the question": 1,
        "fitb_valid: an answer's category is dropped": 1,
        "auc_valid: outfits with fewer than two kept items": 1,
    }


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda world: world.__setitem__(name, value)


def _question(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda world: world["nondisjoint/fill_in_blank_valid.json"][0].update(changes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("categories.csv"), r"categories.csv: no such file"),
        (lambda w: w.pop("nondisjoint/valid.json"), r"valid.json: no such file"),
        (_set("categories.csv", "1,Shirt\n"), r"categories.csv:1: needs id, fine name"),
        (_set("categories.csv", "1,Shirt,tops\n\n1,Shirt,hats\n"), r"csv:3: category id '1' is 'hats' here and 'tops'"),
        (_set("categories.csv", "1,Shirt,\n1,Shirt,tops\n"), r"csv:2: category id '1' is 'tops' here and '' before"),
        (_set("categories.csv", "1,Shirt,tops\n3,Carpet,other\n"), r"metadata.json: s0: category_id '2' is not in"),
        (_set("polyvore_item_metadata.json", {"t0": {}}), r"metadata.json: t0: has no category_id"),
        (
            _set("polyvore_item_metadata.json", {"t0": {"category_id": "1", "semantic_category": 3}}),
            r"metadata.json: t0: semantic_category must be text, is int",
        ),
        (_set("polyvore_item_metadata.json", []), r"metadata.json: must be a JSON object"),
        (_set("nondisjoint/train.json", '[{"set_id": "1"'), r"train.json: cannot be read as JSON"),
        (_set("nondisjoint/train.json", [{"set_id": "1"}]), r"train.json: \[0\]: needs set_id and items"),
        (
            _set("nondisjoint/train.json", [{"set_id": "1", "items": [{"item_id": "no", "index": 1}]}]),
            r"train.json: set 1: item 'no' is not in",
        ),
        (
            _set("nondisjoint/test.json", [{"set_id": "1", "items": [{"item_id": "t1", "index": 1}]}]),
            r"test.json: reference 1_1 already names another item",
        ),
        (_question(answers=["8_2", "1_1"]), r"fill_in_blank_valid.json: \[0\]: 0 answers come from the question's set"),
        (_question(answers=["7_4", "7_4"]), r"fill_in_blank_valid.json: \[0\]: 2 answers"),
        (_question(answers=["8_2", "7_1"]), r"fill_in_blank_valid.json: \[0\]: 0 answers"),  # it shows 7_1 itself
        (_question(question=["7_2"]), r"fill_in_blank_valid.json: \[0\]: '7_2' refers to no item"),
        (_question(question=["7_1", "8_1"]), r"fill_in_blank_valid.json: \[0\]: question must hold items of one set"),
        (_set("nondisjoint/compatibility_valid.txt", "1 7_1 7_4\n2 7_1\n"), r"valid.txt:2: label must be 0 or 1"),
        (_set("nondisjoint/compatibility_valid.txt", "1 7_1 7_9\n"), r"valid.txt:1: '7_9' refers to no item"),
    ],
)
def test_faults_name_file_and_place(tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], message: str) -> None:
    world = _world()
    spoil(world)
    with pytest.raises(OutfitsError, match=message):
        read_outfits(_write(tmp_path, world), "nondisjoint", _category)


def test_the_table_of_categories_as_it_really_is(tmp_path: Path) -> None:
    """Ids stand again with another name (the first counts), fields have blanks at the end, some have no category."""
    world = _world() | {
        "categories.csv": "\ufeff1,Pump,tops \n1,Heels,tops\n2,Boots,shoes\n1,Pump, tops\n3,undefined,\n"
    }
    named: dict[str, str | None] = {}

    def category(semantic: str, name: str | None) -> str:
        named[semantic] = name
        return semantic

    got = read_outfits(_write(tmp_path, world), "nondisjoint", category)
    assert named == {"tops": "Pump", "shoes": "Boots"}
    assert got.items["t0"] == Item("t0", "tops", "1")
    assert got.dropped == {"no semantic category": 1}


def test_an_items_own_category_goes_before_the_tables(tmp_path: Path) -> None:
    world = _world()
    world["polyvore_item_metadata.json"]["t0"]["semantic_category"] = " hats"
    del world["polyvore_item_metadata.json"]["s0"]["semantic_category"]
    got = read_outfits(_write(tmp_path, world), "nondisjoint", _category)
    assert (got.items["t0"].category, got.items["s0"].category) == ("hats", "shoes")
    assert got.semantic == {"hats", "tops", "shoes", "other"}


def test_an_item_may_stand_twice_in_an_outfit_and_an_outfit_may_be_long(tmp_path: Path) -> None:
    world, many = _world(), [f"t{n}" for n in range(19)]
    world["polyvore_item_metadata.json"] |= {i: {"category_id": "1"} for i in many}
    members = [{"item_id": i, "index": n} for n, i in enumerate([*many, "t0"], 1)]
    world["nondisjoint/test.json"] = [{"set_id": 9, "items": members}]
    world["nondisjoint/compatibility_test.txt"] = "1 9_1 9_2 9_20\n"
    got = read_outfits(_write(tmp_path, world), "nondisjoint", _category)
    assert got.sets["test"] == (tuple(many),)
    assert got.judged["test"][0].outfit == ("t0", "t1", "t0")  # a judged outfit stays as the file has it


def test_titles_are_the_first_text_there_is(tmp_path: Path) -> None:
    items: dict[str, dict[str, Any]] = {
        "a": {"title": " Red \n  shoes ", "url_name": "red", "description": "Long"},
        "b": {"title": "", "url_name": "blue coat", "description": "Long"},
        "c": {"title": None, "url_name": " ", "description": "A green\that"},
        "d": {"category_id": "1"},
    }
    _write(tmp_path, {"polyvore_item_metadata.json": items})
    assert titles(tmp_path) == {"a": "Red shoes", "b": "blue coat", "c": "A green hat", "d": ""}


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"title": ["Red"]}, "a: title must be text, is list"),
        ({"title": "Red", "description": 7}, "a: description must be text, is int"),
        ("Red", "a: must be an object"),
    ],
)
def test_titles_that_are_no_text_name_item_and_field(meta: Any, said: str, tmp_path: Path) -> None:
    _write(tmp_path, {"polyvore_item_metadata.json": {"a": meta}})
    with pytest.raises(OutfitsError, match=rf"polyvore_item_metadata.json: {said}"):
        titles(tmp_path)


def _shared_world() -> Outfits:
    items = {i: Item(i, "tops", "1") for i in "abcdefgh"}
    return Outfits(
        root=Path("polyvore"),
        variant="nondisjoint",
        items=items,
        sets={"train": (("a", "b"),), "valid": (("b", "c"), ("c", "d")), "test": (("d", "e"), ("f", "g"))},
        questions={
            "valid": (
                Question(("b",), ("c", "e"), 0),
                Question(("d",), ("a", "c"), 1),
                Question(("d",), ("e", "c"), 1),
            ),
            "test": (Question(("f",), ("g", "h"), 0),),
        },
        judged={"valid": (Judged(("a", "c"), False),), "test": (Judged(("d", "e"), True), Judged(("b", "f"), False))},
        dropped={"refused": 1},
        left_out={"train: outfits with fewer than two kept items": 2},
    )


def test_strict_disjoint_leaves_nothing_that_train_has_seen() -> None:
    """A question goes for any of its items: shown, right answer, wrong answer."""
    got = strict_disjoint(_shared_world())
    assert got.sets == {"train": (("a", "b"),), "valid": (("c", "d"),), "test": (("d", "e"), ("f", "g"))}
    assert got.questions == {"valid": (Question(("d",), ("e", "c"), 1),), "test": (Question(("f",), ("g", "h"), 0),)}
    assert got.judged == {"valid": (), "test": (Judged(("d", "e"), True),)}
    assert got.left_out == {
        "train: outfits with fewer than two kept items": 2,
        "valid: outfits that share an item with train": 1,
        "fitb_valid: questions that share an item with train": 2,
        "auc_valid: outfits that share an item with train": 1,
        "auc_test: outfits that share an item with train": 1,
    }
    assert strict_disjoint(got) == got


def test_strict_disjoint_keeps_the_items_that_are_still_asked_about() -> None:
    small = replace(_shared_world(), questions={"valid": (), "test": ()})
    assert sorted(strict_disjoint(small).items) == list("abcdefg")


def test_an_unreadable_photo_takes_along_what_asks_for_it_and_all_of_it_is_counted() -> None:
    """Of a question the shown items may go but for the last one, an answer never; two items are left of an outfit."""
    world = replace(
        _shared_world(),
        sets={"train": (("a", "b", "c"), ("b", "c")), "valid": (("d", "e"),), "test": (("a", "b"), ("f", "g"))},
        questions={
            "valid": (Question(("b", "c"), ("d", "e"), 0), Question(("b",), ("d", "e"), 0)),
            "test": (Question(("f",), ("g", "b"), 0), Question(("f",), ("g", "h"), 1)),
        },
        judged={"valid": (Judged(("a", "b", "c"), True), Judged(("a", "b"), False)), "test": ()},
    )
    got = without(world, {"b"})
    assert set(got.items) == set("acdefgh")
    assert got.sets == {"train": (("a", "c"),), "valid": (("d", "e"),), "test": (("f", "g"),)}
    assert got.questions == {
        "valid": (Question(("c",), ("d", "e"), 0),),
        "test": (Question(("f",), ("g", "h"), 1),),
    }
    assert got.judged == {"valid": (Judged(("a", "c"), True),), "test": ()}
    assert got.dropped == {"refused": 1, "image cannot be read": 1}
    assert got.left_out == {
        "train: outfits with fewer than two kept items": 2,
        "train: outfits with fewer than two photos that can be read": 1,
        "test: outfits with fewer than two photos that can be read": 1,
        "fitb_valid: a photo cannot be read": 1,
        "fitb_test: a photo cannot be read": 1,
        "auc_valid: outfits with fewer than two photos that can be read": 1,
    }


ASKED, BOTH = (Question(("f",), ("g", "h"), 0),), (Judged(("a", "b"), True), Judged(("a", "c"), False))


@pytest.mark.parametrize(
    ("questions", "judged", "left_out", "said"),
    [
        ((), BOTH, {}, "fill_in_blank_test.json: test has no question to ask"),
        (
            (),
            BOTH,
            {
                "fitb_test: a photo cannot be read": 1200,
                "fitb_test: gone": 3,
                "fitb_valid: gone": 7,
                "auc_test: gone": 9,
            },
            "test has no question to ask; 1,200 left out: a photo cannot be read; 3 left out: gone",
        ),
        (
            ASKED,
            (),
            {"auc_test: gone": 9},
            "test.txt: test has no judged outfit, and AUC needs both labels; 9 left out",
        ),
        (ASKED, BOTH[:1], {}, "compatibility_test.txt: test has no outfit of label 0, and AUC needs both"),
        (ASKED, BOTH[1:], {}, "compatibility_test.txt: test has no outfit of label 1, and AUC needs both"),
    ],
)
def test_a_part_that_asks_nothing_is_named(
    questions: tuple[Question, ...], judged: tuple[Judged, ...], left_out: dict[str, int], said: str
) -> None:
    world = replace(
        _shared_world(),
        questions={"valid": ASKED, "test": questions},
        judged={"valid": BOTH, "test": judged},
        left_out=left_out,
    )
    check_askable(world, ["valid"])
    with pytest.raises(OutfitsError) as e:
        check_askable(world, ["valid", "test"])
    assert str(e.value).startswith("polyvore/nondisjoint/")
    assert said in str(e.value)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ValueError("no triplet"), OutfitsError, "polyvore/nondisjoint: MEDAL: no triplet"),
        (ConfigError("device: cuda"), ConfigError, "device: cuda"),
        (OutfitsError("z.json: torn"), OutfitsError, "z.json: torn"),
        (FloatingPointError("not finite"), FloatingPointError, "not finite"),
    ],
)
def test_only_a_fault_without_a_class_is_the_outfits(error: Exception, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as e, blamed(_shared_world(), "MEDAL"):
        raise error
    assert (type(e.value), str(e.value)) == (kind, said)


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not on this machine")
    return SHARED / name


@pytest.mark.real_data
@pytest.mark.parametrize(("variant", "questions", "judged"), [("disjoint", 357, 714), ("nondisjoint", 1, 1)])
def test_strict_disjoint_on_real_outfits(variant: str, questions: int, judged: int) -> None:
    """The disjoint variant is one; of the nondisjoint test one question in 598 is left."""
    read = read_outfits(_shared("fashion"), variant, lambda semantic, name: semantic)
    strict = strict_disjoint(read)
    assert (len(strict.questions["test"]), len(strict.judged["test"])) == (questions, judged)
    seen = {i for outfit in strict.sets["train"] for i in outfit}
    assert not any(seen & {*q.outfit, *q.answers} for part in ("valid", "test") for q in strict.questions[part])
    assert not any(seen & set(j.outfit) for part in ("valid", "test") for j in strict.judged[part])


@pytest.mark.real_data
def test_the_maryland_questions_have_the_same_form(tmp_path: Path) -> None:
    """3,076 questions and 7,076 outfits; two questions offer an item that they show, besides the right one."""
    source, folder = _shared("polyvore_maryland"), tmp_path / "nondisjoint"
    folder.mkdir()
    (folder / "fill_in_blank_test.json").symlink_to(source / "fill_in_blank_test.json")
    (folder / "compatibility_test.txt").symlink_to(source / "fashion_compatibility_prediction.txt")
    asked = json.loads((folder / "fill_in_blank_test.json").read_text())
    lines = [line.split() for line in (folder / "compatibility_test.txt").read_text().splitlines()]
    refs = {r for q in asked for r in (*q["question"], *q["answers"])} | {r for line in lines for r in line[1:]}
    sets: dict[str, list[dict[str, Any]]] = {}
    for ref in refs:  # every reference its own item: the sets themselves are not among these files
        sets.setdefault(ref.rsplit("_", 1)[0], []).append({"item_id": ref, "index": ref.rsplit("_", 1)[1]})
    _write(tmp_path, {
        "polyvore_item_metadata.json": {r: {"category_id": "2"} for r in refs},
        "categories.csv": "2,Clothing,all\n",
        "nondisjoint/train.json": [],
        "nondisjoint/valid.json": [],
        "nondisjoint/test.json": [{"set_id": s, "items": items} for s, items in sets.items()],
        "nondisjoint/fill_in_blank_valid.json": [],
        "nondisjoint/compatibility_valid.txt": "",
    })  # fmt: skip
    got = read_outfits(tmp_path, "nondisjoint", _category)
    assert len(got.questions["test"]) == 3076
    assert {q.right for q in got.questions["test"]} == {0}
    assert sum(bool(set(q.outfit) & set(q.answers)) for q in got.questions["test"]) == 2
    assert Counter(j.compatible for j in got.judged["test"]) == {True: 3076, False: 4000}
    assert not got.left_out


@pytest.mark.parametrize("variant", ["joint", "", ".", "nondisjoint/", "../x/nondisjoint", "Disjoint"])
def test_a_variant_is_one_of_the_two_even_where_there_is_a_folder(variant: str, tmp_path: Path) -> None:
    root = _write(tmp_path / "x", _world())
    (root / "joint").mkdir()
    with pytest.raises(OutfitsError, match="is unknown; those of the layout are nondisjoint and disjoint"):
        read_outfits(root, variant, _category)


def test_a_variant_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutfitsError, match="/disjoint: no such folder"):
        read_outfits(_write(tmp_path, _world()), "disjoint", _category)


def _drawn_world(seed: int) -> tuple[list[tuple[str, ...]], dict[str, Item], dict[str, int]]:
    rng = np.random.default_rng(seed)
    items = {f"{kind}{n}": Item(f"{kind}{n}", kind, kind) for kind in "abc" for n in range(12)}
    outfits = []
    for _ in range(40):  # low numbers are popular
        outfits.append(tuple(f"{kind}{min(11, int(rng.exponential(3)))}" for kind in "abc"))
    return outfits, items, {i: n for n, i in enumerate(items)}


def test_negatives_never_co_occur_and_share_the_type() -> None:
    outfits, items, rows = _drawn_world(1)
    names = list(items)
    worn = {frozenset((a, b)) for o in outfits for a in o for b in o}
    sampler, rng = TripletSampler(outfits, items, rows), np.random.default_rng(0)
    for _ in range(5):
        drawn = sampler.draw(6, rng)
        assert len(drawn.anchor) == len(sampler)
        for a, p, negatives in zip(drawn.anchor, drawn.positive, drawn.negative, strict=True):
            assert frozenset((names[a], names[p])) in worn
            for n in negatives:
                assert frozenset((names[a], names[n])) not in worn
                assert n not in (a, p)
                assert items[names[n]].product_type == items[names[p]].product_type
    impossible = sum(
        all(frozenset((a, n)) in worn for n in {x for o in outfits for x in o} if n[0] == p[0])
        for o in outfits for a in o for p in o if a != p
    )  # fmt: skip
    assert sampler.without_negative == impossible
    assert len(sampler) == 40 * 6 - impossible


def test_negatives_follow_use() -> None:
    """Anchor a0 was worn with b0 only; b1, b2, b3 are used 1, 3 and 6 times elsewhere."""
    outfits = [("a0", "b0")] + [(f"a{n}", f"b{b}") for n, b in enumerate([1] + [2] * 3 + [3] * 6, 1)]
    items = {i: Item(i, i[0], i[0]) for o in outfits for i in o}
    rows = {i: n for n, i in enumerate(items)}
    names = list(items)
    drawn = TripletSampler(outfits, items, rows).draw(20_000, np.random.default_rng(0))
    own = (drawn.anchor == rows["a0"]) & (drawn.positive == rows["b0"])
    share = Counter(names[n] for n in drawn.negative[own].ravel())
    assert [share[b] / 20_000 for b in ("b1", "b2", "b3")] == pytest.approx([0.1, 0.3, 0.6], abs=0.02)


def test_same_seed_same_triplets() -> None:
    sampler = TripletSampler(*_drawn_world(2))
    first, second = (sampler.draw(3, np.random.default_rng(9)) for _ in range(2))
    assert (first.anchor == second.anchor).all()
    assert (first.negative == second.negative).all()


def test_no_possible_negative_is_an_error() -> None:
    items = {"a": Item("a", "tops", "1"), "b": Item("b", "shoes", "2")}
    with pytest.raises(ValueError, match="no triplet"):
        TripletSampler([("a", "b")], items, {"a": 0, "b": 1})
