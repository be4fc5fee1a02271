"""Split by photo, and the questions of a split. All seeded; nothing depends on the order of files on disk.

Wrong answers and drawn outfits take items of the same fine category (the detector's label) from the same split, as in
Polyvore Outfits; each outfit gives one right outfit, one drawn outfit and one fill-in-the-blank question, where the
split holds enough other items of that fine category.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medal_model.harvest.config import HarvestConfig

SPLITS = ("train", "valid", "test")
WRONG = 3  # wrong answers a question


@dataclass(frozen=True)
class Piece:
    """An item of a harvested outfit; `index` is its detection's place in the photo, from 1."""

    item_id: str
    index: int
    label: str
    category: str


@dataclass(frozen=True)
class Outfit:
    """What one photo gives."""

    set_id: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Questions:
    """In the layout's own form. `left_out` counts outfits without a question, by reason."""

    fill_in_blank: tuple[dict[str, Any], ...]
    compatibility: tuple[str, ...]
    left_out: Mapping[str, int]


def split_of(name: str, config: HarvestConfig) -> str:
    """train, valid or test of a photo, by a hash of seed and name: other photos never move it."""
    digest = hashlib.sha256(f"{config.seed}:{name}".encode()).digest()
    at = int.from_bytes(digest[:8], "big") / 2**64
    if at < config.train_share:
        return "train"
    return "valid" if at < config.train_share + config.valid_share else "test"


def ask(outfits: Sequence[Outfit], seed: int) -> Questions:
    """Questions on the outfits of one split, from that split's items alone."""
    rng = random.Random(seed)
    pools: defaultdict[str, list[str]] = defaultdict(list)
    for o in outfits:
        for p in o.pieces:
            pools[p.label].append(_ref(o, p))
    blanks: list[dict[str, Any]] = []
    lines: list[str] = []
    left_out: Counter[str] = Counter()
    for o in outfits:
        own = {_ref(o, p) for p in o.pieces}
        others = {p.label: [r for r in pools[p.label] if r not in own] for p in o.pieces}
        if (question := _blank(o, others, rng)) is not None:
            blanks.append(question)
        else:
            left_out[f"fill in the blank: no item has {WRONG} others of its fine category"] += 1
        lines.append("1 " + " ".join(_ref(o, p) for p in o.pieces))
        if all(others[p.label] for p in o.pieces):
            lines.append("0 " + " ".join(rng.choice(others[p.label]) for p in o.pieces))
        else:
            left_out["drawn outfit: an item is the only one of its fine category"] += 1
    return Questions(tuple(blanks), tuple(lines), dict(left_out))


def _blank(o: Outfit, others: Mapping[str, Sequence[str]], rng: random.Random) -> dict[str, Any] | None:
    possible = [n for n, p in enumerate(o.pieces) if len(others[p.label]) >= WRONG]
    if not possible:
        return None
    blank = rng.choice(possible)
    answers = [_ref(o, o.pieces[blank]), *rng.sample(others[o.pieces[blank].label], WRONG)]
    rng.shuffle(answers)
    rest = [_ref(o, p) for n, p in enumerate(o.pieces) if n != blank]
    return {"question": rest, "blank_position": o.pieces[blank].index, "answers": answers}


def _ref(o: Outfit, p: Piece) -> str:
    return f"{o.set_id}_{p.index}"
