"""Concentration of lists over products: Gini and top share against plain loops, and the even draw beside them."""

from __future__ import annotations

import itertools
from typing import Any

import clean_night as f
import numpy as np
import pytest

from jobs.quality.concentration import FIGURES, Concentration, Targets, gini, told, top_share
from jobs.quality.lists import list_frames

EVERY = np.array([[True]])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], 0.0),
        ([0, 0, 0], 0.0),
        ([7], 0.0),
        ([5, 5, 5, 5], 0.0),
        ([1, 2, 3, 4], 0.25),
        ([4, 1, 3, 2], 0.25),
        ([0, 0, 0, 9], 0.75),  # (n - 1) / n: one takes all
        ([0, 3], 0.5),
    ],
)
def test_gini(counts: list[int], expected: float) -> None:
    assert gini(np.array(counts, dtype=np.float64)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_gini_is_the_mean_difference_of_all_pairs(seed: int) -> None:
    counts = np.random.default_rng(seed).geometric(0.1, 57).astype(np.float64)
    pairs = [abs(a - b) for a, b in itertools.product(counts, counts)]
    assert gini(counts) == pytest.approx(float(np.mean(pairs) / (2 * counts.mean())))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], 0.0),
        ([0, 0], 0.0),
        ([1, 2, 5], 5 / 8),  # rounded up to one product
        ([1] * 100, 0.01),
        ([1] * 99 + [11, 10], 21 / 120),  # of 101 products two
        ([3] + [0] * 199, 1.0),
    ],
)
def test_top_share(counts: list[int], expected: float) -> None:
    assert top_share(np.array(counts, dtype=np.float64)) == pytest.approx(expected)


def figures(
    category: list[int], able: list[bool], lists: list[tuple[int, int, list[int]]], *,
    department: list[int] | None = None, allowed: Any = EVERY,
) -> dict[str, float]:  # fmt: skip
    """lists: (department of the page, target category, products)."""
    n = len(category)
    targets = Targets(np.array(category), np.array(department or [0] * n), np.array(able), np.array(allowed))
    c = Concentration(targets, 3)
    for half in (lists[::2], lists[1::2]):  # in two portions, as source categories come
        c.add(
            np.array([d for d, _, _ in half], dtype=np.int64), np.array([t for _, t, _ in half], dtype=np.int64),
            np.array([len(e) for _, _, e in half], dtype=np.int64),
            np.array([e for _, _, e_ in half for e in e_], dtype=np.int64),
        )  # fmt: skip
    return c.figures()


@pytest.mark.parametrize(
    ("category", "able", "lists", "expected"),
    [
        ([0, 0, 0, 0], [True] * 4, [(0, 0, [0, 1]), (0, 0, [2, 3])], (0.0, 0.25, 1.0)),
        ([0, 0, 0, 0], [True] * 4, [(0, 0, [0]), (0, 0, [0])], (0.75, 1.0, 0.25)),
        ([0, 0, 0, 0], [True, True, False, False], [(0, 0, [0]), (0, 0, [0])], (0.5, 1.0, 0.5)),  # sold out: not asked
        ([0, 0, 1, 1], [True] * 4, [(0, 0, [0]), (0, 0, [1])], (0.0, 0.5, 1.0)),  # no list asks for category 1
        ([0, 0, 1, 1], [True] * 4, [(0, 0, [0, 1]), (0, 1, [])], (0.5, 0.5, 0.5)),  # asked, and nothing shown
        ([0, 0, 0], [True, True, False], [(0, 0, [2]), (0, 0, [1])], (1 / 3, 0.5, 2 / 3)),  # pinned without a vector
        ([0, 0], [True, True], [(0, 0, [0, -1]), (-1, 0, [1])], (0.0, 0.5, 1.0)),  # unknown product, unknown page
        ([0, 0], [True, True], [], (0.0, 0.0, 0.0)),
    ],
)
def test_figures(
    category: list[int], able: list[bool], lists: list[tuple[int, int, list[int]]], expected: tuple[float, ...]
) -> None:
    found = figures(category, able, lists)
    assert tuple(found) == FIGURES
    assert tuple(found[n] for n in FIGURES[:3]) == pytest.approx(expected)


def test_an_even_draw_shows_a_small_category_more_often() -> None:
    """Two lists of two in a category of two and in one of four: 2 and 2 against four times 1."""
    found = figures([0, 0, 1, 1, 1, 1], [True] * 6, [(0, 0, [0, 1])] * 2 + [(0, 1, [2, 3])] * 2)
    assert found["gini_even"] == pytest.approx(gini(np.array([2.0, 2, 1, 1, 1, 1])))
    assert found["top1_share_even"] == pytest.approx(0.25)
    assert found["gini"] == pytest.approx(gini(np.array([2.0, 2, 2, 2, 0, 0])))


def test_an_even_draw_keeps_departments_apart() -> None:
    """Pages of department 0 show 0 and 1, those of 1 show 1 alone: 4 places over three, 4 more over the one."""
    found = figures(
        [0, 0, 0], [True] * 3, [(0, 0, [0, 1]), (0, 0, [0, 2]), (1, 0, [2]), (1, 0, [2])],
        department=[0, 0, 1], allowed=[[True, True], [False, True]],
    )  # fmt: skip
    assert found["gini_even"] == pytest.approx(gini(np.array([4 / 3, 4 / 3, 4 / 3 + 2])))


def test_figures_of_a_night_are_those_of_a_plain_count() -> None:
    products = f.products()
    lists = f.lists(products)
    frame, _ = list_frames(
        f.active(products), lambda c: f.lists_table(lists, c), categories=f.CATEGORIES, taxonomy=f.TAXONOMY,
        weights=f.weights, k=f.K,
    )  # fmt: skip
    of_run = [r for r in lists if r["source_category"] in f.CATEGORIES]
    pages = {p["item_id"]: p for p in products}
    counts, even = {}, {}
    for y in products:
        asked = [
            r for r in of_run if r["target_category"] == y["category"]
            and f._possible(pages[r["item_id"]], {**y, "group_id": ""})
        ]  # fmt: skip
        if not asked:
            continue
        counts[y["item_id"]] = sum(e["item_id"] == y["item_id"] for r in asked for e in r["items"])
        even[y["item_id"]] = sum(
            r["size"] / sum(f._possible(pages[r["item_id"]], z) for z in products if z["category"] == y["category"])
            for r in asked
        )
    assert sum(counts.values()) == sum(r["size"] for r in of_run)
    plain, drawn = (np.array(list(c.values()), dtype=np.float64) for c in (counts, even))
    expected = (gini(plain), top_share(plain), float((plain > 0).mean()), gini(drawn), top_share(drawn))
    assert tuple(frame.data[n].iloc[0] for n in FIGURES) == pytest.approx(expected)
    assert expected[3] < expected[0]


def test_the_note_tells_both() -> None:
    found = dict(zip(FIGURES, (0.512, 0.0834, 0.9, 0.25, 0.03), strict=True))
    assert told(found) == (
        "the most shown 1 % of products take 8.3 % of the places (3.0 % in an even draw), Gini 0.512 (0.250)"
    )
