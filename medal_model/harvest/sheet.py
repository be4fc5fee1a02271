"""A sheet for a person to judge: some of the harvested sets, each photo with its boxes and its crops beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from medal_model.harvest.questions import Outfit
from medal_model.harvest.run import Harvested
from medal_model.images import decode_image

PHOTO, CROP, GAP, CAPTION, MARGIN, COLUMNS = 420, 200, 16, 46, 30, 4
INK, GREY, LIGHT, PAPER = (28, 28, 30), (110, 110, 116), (220, 220, 224), (255, 255, 255)
# Colour-blind safe (Okabe and Ito), dark enough on white.
COLOURS = ((213, 94, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167), (160, 130, 0), (86, 180, 233), (90, 90, 90))


def draw_sheet(harvested: Harvested, count: int = 10, seed: int = 0) -> Image.Image:
    """`count` sets drawn by seed over all splits, two beside each other. Raises ValueError for no set."""
    sets = [(split, o) for split, own in harvested.sets.items() for o in own]
    if not sets or count < 1:
        raise ValueError("a sheet needs at least one set")
    chosen = random.Random(seed).sample(sorted(sets, key=lambda s: s[1].set_id), min(count, len(sets)))
    rows = max(1, max(-(-len(o.pieces) // COLUMNS) for _, o in chosen))
    height = 34 + max(PHOTO, rows * (CROP + CAPTION)) + GAP
    width = round(PHOTO * 0.75) + GAP + COLUMNS * (CROP + GAP)
    lines = -(-len(chosen) // 2)
    page = Image.new("RGB", (2 * MARGIN + 2 * width + GAP, 2 * MARGIN + lines * (height + GAP)), PAPER)
    for n, (split, outfit) in enumerate(chosen):
        at = (MARGIN + (n % 2) * (width + GAP), MARGIN + (n // 2) * (height + GAP))
        _set(page, at, f"{n + 1}.  photo {harvested.photos[outfit.set_id].name}, {split}", outfit, harvested)
    return page


def _set(page: Image.Image, at: tuple[int, int], title: str, outfit: Outfit, harvested: Harvested) -> None:
    draw = ImageDraw.Draw(page)
    x, y = at
    draw.text((x, y), title, INK, _font(20))
    y += 34
    page.paste(_photo(harvested.photos[outfit.set_id], outfit.pieces, harvested), (x, y))
    left = x + round(PHOTO * 0.75) + GAP
    for n, piece in enumerate(outfit.pieces):
        cx, cy = left + (n % COLUMNS) * (CROP + GAP), y + (n // COLUMNS) * (CROP + CAPTION)
        with Image.open(harvested.out / "images" / f"{piece.item_id}.jpg") as opened:
            crop = opened.convert("RGB").resize((CROP, CROP), Image.Resampling.LANCZOS)
        page.paste(crop, (cx, cy))
        draw.rectangle((cx, cy, cx + CROP - 1, cy + CROP - 1), outline=_colour(n), width=3)
        d = harvested.boxes[piece.item_id]
        draw.text((cx, cy + CROP + 3), f"{n + 1}  {piece.label}", INK, _font(17))
        text = f"{piece.category}, {d.score:.2f}, {d.box.w:.0f} x {d.box.h:.0f} px"
        draw.text((cx, cy + CROP + 23), text, GREY, _font(13))


def _photo(path: Path, pieces: Sequence[Any], harvested: Harvested) -> Image.Image:
    """The photo on a canvas of 3:4, with a numbered box for each item."""
    canvas = Image.new("RGB", (round(PHOTO * 0.75), PHOTO), LIGHT)
    photo = Image.fromarray(decode_image(path.read_bytes()))  # upright, as the boxes are
    scale = min(canvas.width / photo.width, canvas.height / photo.height)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
    left, top = (canvas.width - photo.width) // 2, (canvas.height - photo.height) // 2
    canvas.paste(photo, (left, top))
    draw = ImageDraw.Draw(canvas)
    for n, piece in enumerate(pieces):
        b = harvested.boxes[piece.item_id].box
        x0, y0 = left + b.x * scale, top + b.y * scale
        draw.rectangle((x0, y0, x0 + b.w * scale, y0 + b.h * scale), outline=_colour(n), width=3)
        draw.rectangle((x0, y0, x0 + 20, y0 + 20), fill=_colour(n))
        draw.text((x0 + 10, y0 + 10), str(n + 1), PAPER, _font(16), anchor="mm")
    return canvas


def _colour(n: int) -> tuple[int, int, int]:
    return COLOURS[n % len(COLOURS)]


@lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
