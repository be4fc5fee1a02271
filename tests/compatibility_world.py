"""A drawn world whose compatibility is known: every item has a hidden style, an outfit's items share one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medal_model.gallery import Gallery
from medal_model.outfits import Item, Judged, Outfits, Question

CATEGORIES = ("tops", "bottoms", "shoes", "bags")
STYLES = 6


def draw_world(seed: int = 0, per_kind: int = 24, outfits: int = 400, features: int = 24) -> tuple[Outfits, Gallery]:
    """Outfits and a gallery. Features show the style through a rotation of each category's own, amid weaker
    noise; histograms show nothing. Two product types a category."""
    rng = np.random.default_rng(seed)
    ids, items, styles = [], {}, []
    for c, category in enumerate(CATEGORIES):
        for n in range(2 * per_kind):
            item_id = f"{category}{n:03d}"
            ids.append(item_id)
            items[item_id] = Item(item_id, category, f"{c}{n % 2}")
            # As many items of each style in each product type: how often one is used tells nothing.
            styles.append(n // 2 % STYLES)
    style = np.array(styles)
    shown = np.eye(STYLES)[style]
    turned = np.stack([shown[n] @ _rotation(CATEGORIES.index(items[i].category)) for n, i in enumerate(ids)])
    x = rng.normal(0, 0.4, (len(ids), features))
    x[:, :STYLES] += 1.5 * turned
    histograms = rng.dirichlet(np.ones(16), len(ids))
    kinds = {c: np.array([n for n, i in enumerate(ids) if items[i].category == c]) for c in CATEGORIES}

    def outfit() -> tuple[int, ...]:
        s = int(rng.integers(STYLES))
        own = [k[style[k] == s] for k in kinds.values()]
        return tuple(int(rng.choice(k)) for k in own if len(k))

    sets = {"train": [outfit() for _ in range(outfits)]}
    questions: dict[str, tuple[Question, ...]] = {}
    judged: dict[str, tuple[Judged, ...]] = {}
    for part in ("valid", "test"):
        sets[part] = [outfit() for _ in range(outfits // 3)]
        asked, told = [], []
        for own in sets[part]:
            at = int(rng.integers(len(own)))
            true, rest = own[at], own[:at] + own[at + 1 :]
            like = [
                n for n, i in enumerate(ids) if items[i].product_type == items[ids[true]].product_type and n != true
            ]
            wrong = [int(n) for n in rng.choice(like, 3, replace=False)]
            answers = [*wrong[:at], true, *wrong[at:]]
            asked.append(Question(tuple(ids[n] for n in rest), tuple(ids[n] for n in answers), answers.index(true)))
            told.append(Judged(tuple(ids[n] for n in own), True))
            told.append(Judged(tuple(ids[int(rng.choice(k))] for k in kinds.values()), False))
        questions[part], judged[part] = tuple(asked), tuple(told)
    named = {part: tuple(tuple(ids[n] for n in o) for o in own) for part, own in sets.items()}
    gallery = Gallery(
        tuple(ids),
        tuple(items[i].category for i in ids),
        x.astype(np.float32),
        histograms.astype(np.float32),
    )
    return Outfits(Path("world"), "nondisjoint", items, named, questions, judged, {}, {}), gallery


def _rotation(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(100 + seed).normal(size=(STYLES, STYLES)))[0]
