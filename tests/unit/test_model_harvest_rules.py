"""The rules of the harvest on one photo: which detections stay, and why each of the others goes."""

from __future__ import annotations

from typing import Any

import pytest

from medal_model.harvest import rules
from medal_model.harvest.config import make_harvest_config
from medal_model.harvest.detections import Box, Detection

W, H = 400, 800


def seen(label: str, x: float, y: float, w: float, h: float, score: float = 0.9, **more: Any) -> Detection:
    return Detection(label, score, Box(x, y, w, h), **more)


TOP = seen("shirt", 100, 100, 200, 200)
BOTTOM = seen("pants", 100, 300, 200, 300)
SHOES = seen("shoes", 100, 700, 200, 80)
PERSON = seen("person", 80, 20, 240, 770, person=True)


def judged(*found: Detection, persons: bool = False, **config: Any) -> rules.Fates:
    fates = rules.judge(found, W, H, make_harvest_config(config), persons)
    assert len(fates.kept) + len(fates.dropped) == len(found)  # one fate each
    assert {w.index for w in fates.kept} | fates.dropped.keys() == set(range(len(found)))
    return fates


@pytest.mark.parametrize(
    ("third", "config", "why"),
    [
        (seen("gizmo", 0, 0, 90, 90), {}, "label unknown: gizmo"),
        (seen("Skin", 0, 0, 90, 90), {}, "label refused: skin"),
        (seen("shoes", 0, 0, 90, 90), {"labels": {"Shoes": None}}, "label refused: shoes"),
        (seen("bag", 0, 0, 90, 90, score=0.49), {}, "below min_score"),
        (seen("bag", 0, 0, 90, 90, score=0.5), {}, None),
        (seen("bag", 0, 0, 90, 23), {}, "below min_side"),
        (seen("bag", 0, 0, 90, 24), {}, None),
        (seen("bag", -80, 0, 100, 90), {}, "below min_side"),  # 20 pixels of it are in the photo
        (seen("bag", 500, 0, 90, 90), {}, "outside the photo"),
        (seen("bag", 0, 0, 30, 30), {"min_share": 0.01}, "below min_share"),  # 900 of 320,000 pixels
        (seen("bag", 0, 0, 90, 90, mask_area=1619), {}, "below min_visible"),  # a fifth is 1,620
        (seen("bag", 0, 0, 90, 90, mask_area=1620), {}, None),
        (PERSON, {}, "person, no item"),
    ],
)
def test_a_detection_on_its_own(third: Detection, config: dict[str, Any], why: str | None) -> None:
    fates = judged(TOP, BOTTOM, third, **config)
    assert fates.dropped.get(2) == why
    assert fates.photo is None


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (seen("blouse", 110, 110, 190, 190, score=0.8), "overlap (NMS)"),
        (seen("blouse", 110, 110, 60, 60, score=0.8), "contained"),
        (seen("blouse", 160, 250, 180, 150, score=0.8), "not the best of its kind"),
        (seen("coat", 110, 110, 190, 190, score=0.8), None),  # another category: layers are worn together
    ],
)
def test_two_detections_against_each_other(other: Detection, why: str | None) -> None:
    assert judged(TOP, BOTTOM, other).dropped.get(2) == why
    swapped = judged(other, BOTTOM, TOP)  # the better one stays wherever it stands in the list
    assert swapped.dropped.get(0) == why
    assert 2 not in swapped.dropped


def test_equal_scores_are_decided_by_what_is_seen() -> None:
    small, large = seen("shirt", 100, 100, 100, 100), seen("blouse", 150, 180, 160, 160)
    assert judged(small, large, BOTTOM).dropped == {0: "not the best of its kind"}
    hidden = seen("blouse", 150, 180, 160, 160, mask_area=6000)
    assert judged(small, hidden, BOTTOM).dropped == {1: "not the best of its kind"}
    better = seen("blouse", 150, 180, 50, 50, score=0.95)
    assert judged(small, better, BOTTOM).dropped == {0: "not the best of its kind"}
    assert judged(small, better, BOTTOM, prefer="area").dropped == {1: "not the best of its kind"}


def test_one_per_label_keeps_a_belt_beside_a_watch() -> None:
    belt, watch = seen("belt", 100, 290, 200, 30), seen("watch", 20, 300, 30, 30)
    assert judged(TOP, BOTTOM, belt, watch).dropped == {3: "not the best of its kind"}
    assert judged(TOP, BOTTOM, belt, watch, one_per="label").dropped == {}
    assert judged(TOP, BOTTOM, belt, watch, one_per="off").dropped == {}


@pytest.mark.parametrize(
    ("people", "how", "why"),
    [
        ([], "auto", "no person"),
        ([PERSON], "auto", None),
        ([PERSON, seen("person", 330, 100, 60, 500, person=True)], "auto", "more than one person"),
        ([PERSON, seen("person", 330, 100, 60, 239, person=True)], "auto", None),  # a passer-by: under 0.3 of 800
        ([PERSON, seen("person", 330, 100, 60, 500, score=0.4, person=True)], "auto", None),
        ([], "off", None),
        ([], "garments", None),
    ],
)
def test_one_person_by_detections(people: list[Detection], how: str, why: str | None) -> None:
    fates = judged(TOP, BOTTOM, *people, persons=True, one_person=how)
    assert fates.photo == why
    if why:
        assert fates.dropped[0] == f"photo: {why}"
        assert fates.kept == ()


@pytest.mark.parametrize(
    ("other", "alone"),
    [
        (seen("jeans", 310, 300, 80, 300), False),
        (seen("jeans", 285, 300, 100, 300), False),  # 15 of 100 pixels of width in common
        (seen("jeans", 275, 300, 100, 300), True),  # 25: the same legs, seen twice
        (seen("bag", 310, 300, 80, 100), True),  # bags may stand anywhere
    ],
)
def test_one_person_by_garments_where_no_one_reports_people(other: Detection, alone: bool) -> None:
    assert judged(TOP, BOTTOM, other).photo == (None if alone else "more than one person")
    assert judged(TOP, BOTTOM, other, one_person="off").photo is None


DRESS = seen("dress", 100, 150, 200, 400)  # 80,000 pixels; TOP has 40,000 and BOTTOM 60,000


@pytest.mark.parametrize(
    ("rule", "found", "gone"),
    [
        ("larger", (TOP, DRESS, SHOES), {0}),
        ("larger", (TOP, BOTTOM, DRESS, SHOES), {2}),
        ("all-body", (TOP, BOTTOM, DRESS, SHOES), {0, 1}),
        ("separates", (TOP, DRESS, SHOES), {1}),
        ("both", (TOP, BOTTOM, DRESS, SHOES), set()),
        ("larger", (DRESS, SHOES), set()),
        ("larger", (TOP, seen("dress", 100, 350, 200, 200), SHOES), {0}),  # a tie keeps the dress
    ],
)
def test_all_body_against_tops_and_bottoms(rule: str, found: tuple[Detection, ...], gone: set[int]) -> None:
    assert judged(*found, all_body=rule).dropped == dict.fromkeys(gone, "all-body or separates")


def test_two_categories_at_least() -> None:
    assert judged(TOP).photo == "fewer than min_items categories"
    assert judged(TOP, DRESS).photo == "fewer than min_items categories"  # the dress is left alone
    assert judged(TOP, BOTTOM, min_items=3).photo == "fewer than min_items categories"
    assert judged().photo == "no detections"
    assert judged(TOP, BOTTOM).photo is None
