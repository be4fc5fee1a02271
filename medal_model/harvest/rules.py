"""The rules on one photo's detections: which stay, and why each of the others goes. Pure.

Every detection gets exactly one fate. Order: person, label, place and size, score, visibility, suppression within a
category, one person, one item a category, all-body against separates, number of categories.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medal_model.harvest.config import HarvestConfig
from medal_model.harvest.detections import Detection
from medal_model.harvest.labels import fold

UNKNOWN, REFUSED = "label unknown", "label refused"
PERSON, OUTSIDE, SMALL, SHARE = "person, no item", "outside the photo", "below min_side", "below min_share"
SCORE, HIDDEN = "below min_score", "below min_visible"
NMS, CONTAINED, BEATEN, LAYERED = "overlap (NMS)", "contained", "not the best of its kind", "all-body or separates"
NO_PERSON, PERSONS, TWO_KINDS, NOTHING = (
    "no person", "more than one person", "fewer than min_items categories", "no detections",
)  # fmt: skip


@dataclass(frozen=True)
class Worn:
    """A detection with its place in the detector's list and its category."""

    index: int
    category: str
    detection: Detection


@dataclass(frozen=True)
class Fates:
    """What the rules decide: `kept` in the detector's order, reason by index of the others, why the photo goes."""

    kept: tuple[Worn, ...]
    dropped: dict[int, str]
    photo: str | None


def judge(found: Sequence[Detection], width: int, height: int, config: HarvestConfig, persons: bool) -> Fates:
    """Fates of all detections of one photo of `width` x `height` pixels.

    `persons`: does the detector report people? Where a photo goes, its detections that were left go by `photo: ` and
    the reason.
    """
    dropped: dict[int, str] = {}
    worn: list[Worn] = []
    people = 0
    for n, raw in enumerate(found):
        d = replace(raw, box=raw.box.clipped(width, height))
        if d.person:
            dropped[n] = PERSON
            people += d.score >= config.min_score and d.box.h >= config.person_min_height * height
        elif (why := _alone(d, width * height, config)) is not None:
            dropped[n] = why
        else:
            worn.append(Worn(n, str(config.labels[fold(d.label)]), d))
    worn = suppress(worn, config, dropped)
    photo = None if found else NOTHING
    photo = photo or _persons(people, worn, config, persons)
    if photo is None:
        worn = all_body(one_each(worn, config, dropped), config, dropped)
        photo = few(worn, config)
    if photo is not None:
        dropped.update({w.index: f"photo: {photo}" for w in worn})
        worn = []
    return Fates(tuple(sorted(worn, key=lambda w: w.index)), dropped, photo)


def _alone(d: Detection, photo_area: int, config: HarvestConfig) -> str | None:
    """Why a detection goes on its own account."""
    label = fold(d.label)
    if label not in config.labels:
        return f"{UNKNOWN}: {label}"
    if config.labels[label] is None:
        return f"{REFUSED}: {label}"
    rules: tuple[tuple[bool, str], ...] = (
        (d.box.area <= 0, OUTSIDE),
        (d.score < config.min_score, SCORE),
        (min(d.box.w, d.box.h) < config.min_side, SMALL),
        (d.box.area < config.min_share * photo_area, SHARE),
        (d.mask_area is not None and d.mask_area < config.min_visible * d.box.area, HIDDEN),
    )
    return next((why for broken, why in rules if broken), None)


def suppress(worn: Sequence[Worn], config: HarvestConfig, dropped: dict[int, str]) -> list[Worn]:
    """Greedy non-maximum suppression within each category, by intersection over union and by containment."""
    left: list[Worn] = []
    for w in sorted(worn, key=_best_first(config)):
        same = [k.detection.box for k in left if k.category == w.category]
        box = w.detection.box
        if any(box.iou(k) > config.nms_iou for k in same):
            dropped[w.index] = NMS
        elif any(max(box.inside(k), k.inside(box)) > config.containment for k in same):
            dropped[w.index] = CONTAINED
        else:
            left.append(w)
    return left


def _persons(people: int, worn: Sequence[Worn], config: HarvestConfig, persons: bool) -> str | None:
    """Why the photo goes for want of exactly one person."""
    how = config.one_person
    if how == "auto":
        how = "detections" if persons else "garments"
    if how == "detections" and people != 1:
        return PERSONS if people else NO_PERSON
    if how == "garments" and side_by_side(worn, config):
        return PERSONS
    return None


def side_by_side(worn: Sequence[Worn], config: HarvestConfig) -> bool:
    """Do two garments of one category share less than `person_overlap` of the narrower one's width?"""
    boxes = defaultdict(list)
    for w in worn:
        if w.category in config.worn_once:
            boxes[w.category].append(w.detection.box)
    for own in boxes.values():
        for n, a in enumerate(own):
            for b in own[:n]:
                shared = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
                if shared < config.person_overlap * min(a.w, b.w):
                    return True
    return False


def one_each(worn: Sequence[Worn], config: HarvestConfig, dropped: dict[int, str]) -> list[Worn]:
    """The best one of each category (or label)."""
    if config.one_per == "off":
        return list(worn)
    taken: set[str] = set()
    left = []
    for w in sorted(worn, key=_best_first(config)):
        kind = w.category if config.one_per == "category" else fold(w.detection.label)
        if kind in taken:
            dropped[w.index] = BEATEN
        else:
            taken.add(kind)
            left.append(w)
    return left


def all_body(worn: Sequence[Worn], config: HarvestConfig, dropped: dict[int, str]) -> list[Worn]:
    """A dress and a top or skirt in one photo: one side goes, as `config.all_body` says. Ties keep the dress."""
    whole = [w for w in worn if w.category == "all-body"]
    parts = [w for w in worn if w.category in ("tops", "bottoms")]
    if not whole or not parts or config.all_body == "both":
        return list(worn)
    keep_whole = config.all_body == "all-body" or (
        config.all_body == "larger"
        and sum(w.detection.visible for w in whole) >= sum(w.detection.visible for w in parts)
    )
    gone = {w.index for w in (parts if keep_whole else whole)}
    dropped.update(dict.fromkeys(gone, LAYERED))
    return [w for w in worn if w.index not in gone]


def few(worn: Sequence[Worn], config: HarvestConfig) -> str | None:
    """Why a photo gives no outfit: too few categories."""
    return TWO_KINDS if len({w.category for w in worn}) < config.min_items else None


def _best_first(config: HarvestConfig) -> Callable[[Worn], Any]:
    def key(w: Worn) -> tuple[float, float, int]:
        score, area = -w.detection.score, -w.detection.visible
        return (score, area, w.index) if config.prefer == "score" else (area, score, w.index)

    return key
