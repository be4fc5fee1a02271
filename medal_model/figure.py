"""The paper's figure: outfits with the item that was taken out, and the ten best of its category.

A row is one question: the outfit on the left with the true item boxed, then the pool's best items, best first, the
true item boxed where it is among them. Under each picture stand its score and how much of it is shape and texture
(visual) and colour, as two bars from a common zero: they add up to the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medal_model.features import trim_border
from medal_model.image_errors import ImageError
from medal_model.images import decode_image
from medal_model.retrieval import RetrievalTask, ranking
from medal_model.scorers import MaskedScorer

# One unit is a pixel of the drawing, which is made at twice the size and so stays sharp in print.
SCALE = 2
CELL, GAP, CAPTION, MARGIN = 112, 10, 52, 28
LABEL, GUTTER = 132, 38
INK, GREY, LIGHT, PAPER = (28, 28, 30), (118, 118, 124), (226, 226, 230), (255, 255, 255)
TRUE, VISUAL, COLOUR = (0, 122, 92), (52, 84, 160), (214, 118, 32)
BOX = 4  # width of the box around the true item
_SHOWN = 5  # outfit items a row, the true one included


@dataclass(frozen=True)
class Ranked:
    """A pool item with its score, which is `visual` + `colour`."""

    item_id: str
    score: float
    visual: float
    colour: float


@dataclass(frozen=True)
class FigureRow:
    """One question: the other items of the outfit, the true item and its place in its pool, the best ones."""

    outfit: tuple[str, ...]
    true: str
    category: str
    place: int  # 1: best
    pool: int
    ranked: tuple[Ranked, ...]


def draw_rows(
    task: RetrievalTask,
    scorer: MaskedScorer,
    visual_dim: int,
    ids: Sequence[str],
    count: int,
    seed: int = 0,
    k: int = 10,
    worst: bool = False,
) -> tuple[FigureRow, ...]:
    """`count` questions from as many categories as there are, k items each: drawn by seed, not by how well they
    went, or with `worst` those whose true item stands lowest in its pool.

    `task` has one pool a category; the first `visual_dim` dimensions of the scorer's vectors are the visual part.
    """
    keep = np.arange(scorer.vectors.shape[1]) < visual_dim
    visual = replace(scorer, masks=scorer.masks * keep)
    rng = np.random.default_rng(seed)
    turn: dict[int, int] = {}  # how often a category was drawn before
    order: list[tuple[int, int, int]] = []
    questions = rng.permutation(len(task.answers))
    if worst:
        questions = questions[np.argsort([-_lowness(task, scorer, int(q)) for q in questions], kind="stable")]
    for q in questions:
        c = int(task.category[q])
        order.append((turn.setdefault(c, 0), len(order), int(q)))
        turn[c] += 1
    rows = []
    for _, _, q in sorted(order)[:count]:
        c, outfit, true = int(task.category[q]), task.outfits[q], int(task.answers[q])
        found, scores = ranking(scorer, outfit, task.pools[c], len(task.pools[c]), true)
        best = found[:k]
        part = visual.against([outfit], best)[0]
        ranked = tuple(
            Ranked(ids[int(i)], float(s), float(v), float(s - v))
            for i, s, v in zip(best, scores[:k], part, strict=True)
        )
        place = 1 + int((scores > scores[found == true]).sum())
        rows.append(FigureRow(tuple(ids[int(i)] for i in outfit), ids[true], task.names[c], place, len(found), ranked))
    return tuple(rows)


def _lowness(task: RetrievalTask, scorer: MaskedScorer, q: int) -> float:
    """Share of its pool that stands above a question's true item."""
    pool, true = task.pools[int(task.category[q])], int(task.answers[q])
    found, scores = ranking(scorer, task.outfits[q], pool, len(pool), true)
    return float((scores > scores[found == true]).mean())


def draw_figure(
    rows: Sequence[FigureRow], photo: Callable[[str], bytes], title: str, subtitle: str = ""
) -> Image.Image:
    """The figure as an RGB image. `photo` gives an item's encoded photo; one that cannot be read is a grey square.

    Raises ValueError for no row.
    """
    if not rows:
        raise ValueError("a figure needs rows; no question was drawn")
    columns = max(len(r.ranked) for r in rows)
    head = 74 if subtitle else 54
    left = MARGIN + LABEL
    beside = left + _SHOWN * (CELL + GAP) - GAP + GUTTER
    width = beside + columns * (CELL + GAP) - GAP + MARGIN
    step = CELL + CAPTION + 26
    page = _Page(width, head + MARGIN + 26 + len(rows) * step + 30)
    page.text(MARGIN, MARGIN, title, 21, INK, bold=True)
    if subtitle:
        page.text(MARGIN, MARGIN + 29, subtitle, 13, GREY)
    top = head + MARGIN
    page.text(left, top - 4, "Outfit", 13, GREY)
    page.text(beside, top - 4, f"The {columns} best of the category", 13, GREY)
    limit = max(abs(v) for r in rows for x in r.ranked for v in (x.visual, x.colour, 1e-9))
    for n, row in enumerate(rows):
        y = top + 22 + n * step
        if n:
            page.line(MARGIN, y - 14, width - MARGIN, LIGHT)
        _label(page, row, y)
        shown = row.outfit[: _SHOWN - 1]
        for c, item in enumerate((*shown, row.true)):
            x = left + c * (CELL + GAP)
            page.photo(photo, item, x, y, true=item == row.true)
            if item == row.true:
                page.text(x + CELL / 2, y + CELL + 6, "true item", 12, TRUE, anchor="ma")
        if (more := len(row.outfit) - len(shown)) > 0:
            page.text(left, y + CELL + 6, f"and {more} more", 12, GREY)
        for c, r in enumerate(row.ranked):
            at = beside + c * (CELL + GAP)
            page.photo(photo, r.item_id, at, y, true=r.item_id == row.true)
            page.text(at, y + CELL + 5, f"{r.score:.3f}", 12, TRUE if r.item_id == row.true else INK)
            page.text(at + CELL, y + CELL + 5, str(c + 1), 12, GREY, anchor="ra")
            page.bar(at, y + CELL + 27, r.visual, limit, VISUAL)
            page.bar(at, y + CELL + 40, r.colour, limit, COLOUR)
    _legend(page, beside, page.height - 34)
    return page.image


def _label(page: _Page, row: FigureRow, y: float) -> None:
    page.text(MARGIN, y + 30, row.category.replace("-", " ").capitalize(), 15, INK, bold=True)
    page.text(MARGIN, y + 52, f"true item is {_ordinal(row.place)}", 12, TRUE if row.place <= len(row.ranked) else GREY)
    page.text(MARGIN, y + 68, f"of {row.pool:,}", 12, GREY)


def _legend(page: _Page, x: float, y: float) -> None:
    for colour, text in ((VISUAL, "visual part"), (COLOUR, "colour part")):
        page.box(x, y + 4, 22, 6, colour)
        x = page.text(x + 30, y, text, 12, GREY) + 24
    page.text(x, y, "parts add up to the score; a bar to the left of its tick is negative", 12, GREY)


class _Page:
    """Drawing in units at `SCALE` times the size."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.image = Image.new("RGB", (round(width * SCALE), round(height * SCALE)), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def text(
        self, x: float, y: float, text: str, size: int, colour: Any, anchor: str = "la", bold: bool = False
    ) -> float:
        """Draw text; gives the x at which it ends."""
        font = _font(size * SCALE)
        stroke = 1 if bold else 0  # the packaged font has one weight
        self._draw.text((x * SCALE, y * SCALE), text, colour, font, anchor, stroke_width=stroke, stroke_fill=colour)
        return x + float(font.getlength(text)) / SCALE

    def line(self, x0: float, y: float, x1: float, colour: Any) -> None:
        self._draw.line([(x0 * SCALE, y * SCALE), (x1 * SCALE, y * SCALE)], colour, 1)

    def box(self, x: float, y: float, w: float, h: float, colour: Any) -> None:
        self._draw.rectangle([x * SCALE, y * SCALE, (x + w) * SCALE - 1, (y + h) * SCALE - 1], colour)

    def bar(self, x: float, y: float, value: float, limit: float, colour: Any) -> None:
        """A bar from a tick, `limit` long at most, and its value; a long negative one ends at the cell's edge."""
        zero, room = 0.16 * CELL, 0.5 * CELL
        reach = max(room * value / limit, -zero)
        self.box(x + zero + min(0.0, reach), y, max(0.5, abs(reach)), 6, colour)
        self.box(x + zero - 0.5, y - 2, 1, 10, GREY)
        self.text(x + CELL, y + 3, f"{value:+.3f}", 10, GREY, anchor="rm")

    def photo(self, read: Callable[[str], bytes], item_id: str, x: float, y: float, true: bool) -> None:
        """A photo without its empty border, letterboxed into its cell and framed; the true item in a box."""
        side = CELL * SCALE
        inner = side - 2 * BOX * SCALE
        x0, y0 = round(x * SCALE), round(y * SCALE)
        try:
            photo = Image.fromarray(trim_border(decode_image(read(item_id))))
            ratio = inner / max(photo.size)
            size = (max(1, round(photo.width * ratio)), max(1, round(photo.height * ratio)))
            photo = photo.resize(size, Image.Resampling.LANCZOS)
            self.image.paste(photo, (x0 + (side - photo.width) // 2, y0 + (side - photo.height) // 2))
        except (OSError, ImageError):
            self.box(x + BOX, y + BOX, CELL - 2 * BOX, CELL - 2 * BOX, LIGHT)
            self.text(x + CELL / 2, y + CELL / 2, "no photo", 11, GREY, anchor="mm")
        corners = [x0, y0, x0 + side - 1, y0 + side - 1]
        self._draw.rectangle(corners, outline=TRUE if true else LIGHT, width=BOX * SCALE if true else SCALE)


@lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _ordinal(n: int) -> str:
    if n % 100 in (11, 12, 13):
        return f"{n:,}th"
    return f"{n:,}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"
