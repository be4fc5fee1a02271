"""Blind judgement: lists of a run beside lists of random products, laid out in shuffled order.

A person (or several) fills `answers.csv` without knowing which is which; `tally` opens the key afterwards.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.errors import DataError

QUESTIONS = ("department", "colour", "style", "show")
_SHOWN = 6
_MIN_LIST = 3
_CELL, _PAD = 170, 10


@dataclass(frozen=True)
class Row:
    """One row of a sheet: the query, a target category and the products shown beside it."""

    query: str
    target: str
    shown: tuple[str, ...]
    kind: str  # model, random


def draw_rows(complements: pa.Table, products: pa.Table, lists: int, seed: int) -> list[Row]:
    """`lists` lists by seed, each also with random in-stock products of its target category, in shuffled order.

    The random rows ignore department on purpose: that it is right is part of what is judged.
    Raises DataError where the run has too few lists.
    """
    rng = np.random.default_rng(seed)
    full = [r for r in complements.to_pylist() if r["size"] >= _MIN_LIST]
    if len(full) < lists:
        raise DataError(f"only {len(full)} lists have {_MIN_LIST} products or more; ask for fewer than {lists}")
    full.sort(key=lambda r: (r["item_id"], r["target_category"]))
    by_category: dict[str, list[str]] = {}
    for p in products.to_pylist():
        if p["in_stock"]:
            by_category.setdefault(p["category"], []).append(p["item_id"])
    rows = []
    for i in rng.choice(len(full), lists, replace=False):
        r = full[i]
        shown = tuple(x["item_id"] for x in r["items"][:_SHOWN])
        pool = [p for p in by_category[r["target_category"]] if p != r["item_id"]]
        chance = rng.choice(len(pool), min(len(shown), len(pool)), replace=False)
        rows.append(Row(r["item_id"], r["target_category"], shown, "model"))
        rows.append(Row(r["item_id"], r["target_category"], tuple(pool[c] for c in chance), "random"))
    return [rows[i] for i in rng.permutation(len(rows))]


def write_sheets(rows: Sequence[Row], images: Mapping[str, str], out: Path, per_page: int = 10) -> list[Path]:
    """PNG sheets (query left, products right, rows numbered), `answers.csv` to fill in, and `key.json`."""
    from PIL import Image, ImageDraw, ImageFont

    out.mkdir(parents=True, exist_ok=True)
    font = ImageFont.load_default(18)
    pages = []
    for page, at in enumerate(range(0, len(rows), per_page), start=1):
        chunk = rows[at : at + per_page]
        width = 60 + (_SHOWN + 1) * (_CELL + _PAD) + 40
        sheet = Image.new("RGB", (width, len(chunk) * (_CELL + _PAD) + _PAD), "white")
        draw = ImageDraw.Draw(sheet)
        for n, row in enumerate(chunk):
            y = _PAD + n * (_CELL + _PAD)
            draw.text((8, y + _CELL // 2), str(at + n + 1), fill="black", font=font)
            for c, item in enumerate((row.query, *row.shown)):
                x = 60 + c * (_CELL + _PAD) + (40 if c else 0)
                try:
                    with Image.open(images[item]) as photo:
                        photo.thumbnail((_CELL, _CELL))
                        sheet.paste(photo.convert("RGB"), (x, y))
                except OSError:
                    draw.text((x, y), "no photo", fill="grey", font=font)
            draw.line([(60 + _CELL + 25, y), (60 + _CELL + 25, y + _CELL)], fill="black", width=2)
        pages.append(out / f"sheet-{page:02d}.png")
        sheet.save(pages[-1])
    with (out / "answers.csv").open("w", newline="") as f:
        csv.writer(f).writerows([("row", *QUESTIONS), *((n + 1, *[""] * len(QUESTIONS)) for n in range(len(rows)))])
    (out / "key.json").write_text(json.dumps([row.__dict__ for row in rows], indent=1))
    return pages


def tally(folder: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """{kind: {question: (yes, answered)}}. Raises DataError naming file and row of a bad answer."""
    key = json.loads((folder / "key.json").read_text())
    out = {kind: dict.fromkeys(QUESTIONS, (0, 0)) for kind in ("model", "random")}
    path = folder / "answers.csv"
    for answer in csv.DictReader(path.open(newline="")):
        try:
            kind = key[int(answer["row"]) - 1]["kind"]
        except (KeyError, ValueError, IndexError):
            raise DataError(f"{path}: row '{answer.get('row')}' is not in key.json") from None
        for q in QUESTIONS:
            text = (answer.get(q) or "").strip().lower()
            if text not in ("yes", "no"):
                raise DataError(f"{path}: row {answer['row']}, {q}: '{text}' is neither yes nor no")
            yes, n = out[kind][q]
            out[kind][q] = (yes + (text == "yes"), n + 1)
    return out
