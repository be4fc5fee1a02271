"""Rules of the harvest as one flat, typed configuration; an unknown key is an error; it is kept with the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from medal_model.harvest.labels import LABELS, fold
from medal_model.settings_file import ConfigError, plain_value, read_mapping


@dataclass(frozen=True)
class HarvestConfig:
    """All rules. Shares are of the photo's area unless said otherwise."""

    # Labels: {label: category, or null to refuse it}; entries stand over the built-in table of `labels.py`.
    labels: Mapping[str, str | None] = field(default_factory=lambda: dict(LABELS))
    person_labels: tuple[str, ...] = ("person",)

    # One person a photo. detections: exactly one person is detected; garments: no two garments of one category stand
    # side by side; auto: by detections where the detector reports people, else by garments; off: not judged.
    one_person: str = "auto"
    person_min_height: float = 0.3  # of the photo's height: smaller ones are passers-by
    person_overlap: float = 0.2  # two garments share less of their width than this: side by side
    worn_once: tuple[str, ...] = ("all-body", "bottoms", "outerwear", "tops")  # what `garments` looks at

    # Single detections
    detector_floor: float = 0.1  # what a detector scores below this is no detection at all
    min_score: float = 0.5
    min_side: float = 24.0  # pixels of the shorter side
    min_share: float = 0.001
    min_visible: float = 0.2  # mask's share of its box, where masks are known: below, it is mostly hidden

    # Detections of one category against each other, best first
    nms_iou: float = 0.5  # more intersection over union than this: the same thing
    containment: float = 0.9  # more of the smaller box inside the larger than this: the same thing
    one_per: str = "category"  # category, label (a watch and a belt both stay) or off
    prefer: str = "score"  # score (ties by visible area) or area (ties by score)

    # All-body against tops and bottoms: larger (side with more visible area stays), all-body, separates, both
    all_body: str = "larger"

    # Crops and photos
    others: str = "white"  # what else is in the photo and smaller than the box: white, or keep
    background: str = "keep"  # pixels of the surroundings' colour: white, or keep
    padding: float = 0.08  # of the box's longer side, on each side, before the white square
    min_items: int = 2  # of different categories, else the photo gives no outfit
    photo_distance: int = 4  # bits of 64 between perceptual hashes up to which photos are the same; -1: off
    crop_distance: int = 2  # likewise for crops of one category

    # Split by photo
    train_share: float = 0.8
    valid_share: float = 0.1  # the rest is test
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_RANGES: Mapping[str, tuple[float, float]] = {
    "person_min_height": (0, 1), "person_overlap": (0, 1), "detector_floor": (0, 1), "min_score": (0, 1),
    "min_side": (1, 100_000), "min_share": (0, 1), "min_visible": (0, 1), "nms_iou": (0, 1), "containment": (0, 1),
    "padding": (0, 2), "min_items": (2, 100), "photo_distance": (-1, 64), "crop_distance": (-1, 64),
    "train_share": (0, 1), "valid_share": (0, 1), "seed": (0, 2**31 - 1),
}  # fmt: skip
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "one_person": ("auto", "detections", "garments", "off"),
    "one_per": ("category", "label", "off"),
    "prefer": ("score", "area"),
    "others": ("white", "keep"),
    "background": ("white", "keep"),
    "all_body": ("larger", "all-body", "separates", "both"),
}


def make_harvest_config(values: Mapping[str, Any], where: str = "config") -> HarvestConfig:
    """Checked rules of the given values over the defaults. Raises ConfigError naming the key."""
    types = get_type_hints(HarvestConfig)
    if unknown := set(values) - types.keys():
        known = sorted(f.name for f in fields(HarvestConfig))
        raise ConfigError(f"{where}: unknown key {', '.join(sorted(map(str, unknown)))}; known are {known}")
    clean: dict[str, Any] = {}
    for key, value in values.items():
        if key == "labels":
            clean[key] = _labels(value, where)
        elif types[key] == tuple[str, ...]:
            clean[key] = _names(key, value, where)
        else:
            clean[key] = plain_value(key, value, types[key], where, _RANGES, _CHOICES)
    config = HarvestConfig(**clean)
    if config.train_share + config.valid_share > 1 + 1e-9:
        raise ConfigError(f"{where}: train_share and valid_share add up to more than 1")
    return config


def read_harvest_config(path: Path | None) -> HarvestConfig:
    """Rules from a YAML file; none: the defaults. Raises ConfigError naming file and key."""
    if path is None:
        return HarvestConfig()
    return make_harvest_config(read_mapping(path), str(path))


def _names(key: str, value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f"{where}: {key} must be a list of names, is {value!r}")
    return tuple(value)


def _labels(value: Any, where: str) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: labels must map labels to categories, is {value!r}")
    table = dict(LABELS)
    for label, category in value.items():
        if not isinstance(label, str) or not (category is None or isinstance(category, str)):
            raise ConfigError(f"{where}: labels: {label!r}: must be a name and its category or null, is {category!r}")
        table[fold(label)] = category
    return table
