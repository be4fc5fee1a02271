"""The figure: the true item is boxed, parts add up, a missing photo is no failure."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compatibility_world import CATEGORIES, draw_world
from PIL import Image

from medal_model import figure
from medal_model.figure import FigureRow, Ranked, draw_figure, draw_rows
from medal_model.image_source import FolderImages
from medal_model.retrieval import retrieval_task, retrieve
from medal_model.scorers import MaskedScorer, category_numbers

OUTFITS, GALLERY = draw_world()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in "abctx":
        Image.new("RGB", (60, 80), (200, 40, 40)).save(tmp_path / f"{name}.jpg")
    return tmp_path


def _cell(n: int, row: int = 0) -> tuple[int, int]:
    """Top left pixel of the n-th outfit cell, without subtitle."""
    x = figure.MARGIN + figure.LABEL + n * (figure.CELL + figure.GAP)
    y = 54 + figure.MARGIN + 22 + row * (figure.CELL + figure.CAPTION + 26)
    return x * figure.SCALE, y * figure.SCALE


def test_the_true_item_is_boxed_on_all_four_sides_and_no_other_is(photos: Path) -> None:
    ranked = (Ranked("x", 0.5, 0.3, 0.2), Ranked("t", 0.4, 0.5, -0.1))
    row = FigureRow(("a", "b"), "t", "shoes", 2, 20, ranked)
    image = draw_figure([row], FolderImages(photos).read, "Title")
    side, half = figure.CELL * figure.SCALE, figure.CELL * figure.SCALE // 2
    for n, boxed in ((0, False), (1, False), (2, True)):
        x, y = _cell(n)
        for dx, dy in ((half, 1), (half, side - 2), (1, half), (side - 2, half)):
            assert (image.getpixel((x + dx, y + dy)) == figure.TRUE) is boxed
    beside = figure._SHOWN * (figure.CELL + figure.GAP) - figure.GAP + figure.GUTTER
    for n, boxed in ((0, False), (1, True)):
        x = (figure.MARGIN + figure.LABEL + beside + n * (figure.CELL + figure.GAP)) * figure.SCALE
        assert (image.getpixel((x + 1, _cell(0)[1] + half)) == figure.TRUE) is boxed


def test_a_missing_photo_is_a_grey_square(photos: Path) -> None:
    row = FigureRow(("gone",), "t", "shoes", 1, 2, (Ranked("t", 0.1, 0.1, 0.0),))
    image = draw_figure([row], FolderImages(photos).read, "Title", "")
    x, y = _cell(0)
    assert image.getpixel((x + 20, y + 20)) == figure.LIGHT
    with pytest.raises(ValueError, match="needs rows"):
        draw_figure([], FolderImages(photos).read, "Title")


def test_photos_are_decoded_as_the_data_is(tmp_path: Path) -> None:
    """What is see-through stands on white; what is no photo, or a torn one, is a grey square."""
    picture = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    picture.paste((200, 40, 40, 255), (20, 20, 60, 60))
    whole = io.BytesIO()
    picture.save(whole, "PNG")
    data = {"clear": whole.getvalue(), "torn": whole.getvalue()[:60], "page": b"<html>gone</html>", "empty": b""}
    row = FigureRow(("clear", "torn", "page", "empty"), "t", "shoes", 1, 2, (Ranked("t", 0.1, 0.1, 0.0),))
    image = draw_figure([row], lambda i: data.get(i, b""), "Title")
    half, edge = figure.CELL * figure.SCALE // 2, (figure.BOX + 2) * figure.SCALE
    x, y = _cell(0)
    assert image.getpixel((x + half, y + half)) == (200, 40, 40)
    assert image.getpixel((x + edge, y + edge)) == figure.PAPER
    for n in (1, 2, 3):
        x, y = _cell(n)
        assert image.getpixel((x + edge, y + edge)) == figure.LIGHT


@pytest.mark.parametrize("worst", [False, True])
def test_a_question_may_show_its_right_answer(worst: bool) -> None:
    """The place in the pool is that of the retrieval figures."""
    vectors = np.random.default_rng(0).normal(size=(len(GALLERY.ids), 8))
    scorer = MaskedScorer(vectors, category_numbers(GALLERY.categories, CATEGORIES), np.ones((4, 4, 8)))
    task = retrieval_task(OUTFITS, "test", GALLERY.rows, "type")
    shown = tuple(
        np.append(o, a) if n % 2 else o for n, (o, a) in enumerate(zip(task.outfits, task.answers, strict=True))
    )
    task = replace(task, outfits=shown)
    for k in (1, 5, 20):
        hits = retrieve(task, scorer, ks=(k,)).hits[k]
        rows = draw_rows(task, scorer, 5, GALLERY.ids, len(task.answers), worst=worst)
        assert sum(row.place <= k for row in rows) == int(hits.sum())


def test_rows_hold_true_ranks_and_parts_that_add_up() -> None:
    vectors = np.random.default_rng(0).normal(size=(len(GALLERY.ids), 8))
    scorer = MaskedScorer(vectors, category_numbers(GALLERY.categories, CATEGORIES), np.ones((4, 4, 8)))
    task = retrieval_task(OUTFITS, "test", GALLERY.rows, "type")
    rows = draw_rows(task, scorer, 5, GALLERY.ids, 4, seed=1)
    assert len({r.category for r in rows}) == 4  # one of each before a second of any
    assert rows == draw_rows(task, scorer, 5, GALLERY.ids, 4, seed=1)
    for row in rows:
        mean = np.mean([vectors[GALLERY.rows[i]] for i in row.outfit], axis=0)
        for r in row.ranked:
            y = vectors[GALLERY.rows[r.item_id]]
            assert r.score == pytest.approx(mean @ y, abs=1e-8)
            assert r.visual == pytest.approx(mean[:5] @ y[:5])
            assert r.visual + r.colour == pytest.approx(r.score)
        shown = [r.item_id for r in row.ranked]
        assert (row.true in shown) is (row.place <= 10)
        assert row.true not in shown or shown.index(row.true) == row.place - 1


def test_failures_are_the_questions_whose_true_item_stands_lowest() -> None:
    vectors = np.random.default_rng(0).normal(size=(len(GALLERY.ids), 8))
    scorer = MaskedScorer(vectors, category_numbers(GALLERY.categories, CATEGORIES), np.ones((4, 4, 8)))
    task = retrieval_task(OUTFITS, "test", GALLERY.rows, "type")
    everything = draw_rows(task, scorer, 5, GALLERY.ids, len(task.answers))
    worst = draw_rows(task, scorer, 5, GALLERY.ids, 4, worst=True)
    for row in worst:
        places = [(r.place - 1) / r.pool for r in everything if r.category == row.category]
        assert (row.place - 1) / row.pool == max(places)
