"""The score by the exact rule (design section 5) against Python integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from lists_world import draw_weights, exact_score, half_even, unit

from jobs.complements.score import (
    check_vectors,
    check_weights,
    micro,
    order_keys,
    proposal_error,
    rescore,
    row_of_key,
    scaled_base,
    scaled_queries,
    score_of_key,
)


@pytest.mark.parametrize("seed", range(3))
def test_score_and_visual_part_are_the_integers_of_the_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = unit(rng.normal(size=(5, 128))), unit(rng.normal(size=(40, 128)))
    w = draw_weights(seed)("tops", "shoes")
    rows = np.tile(np.arange(40), (5, 1))
    score, visual = rescore(scaled_queries(w, x), scaled_base(y), rows)
    for i in range(5):
        for j in range(40):
            assert (score[i, j], visual[i, j]) == exact_score(w, x[i], y[j])


def test_scaling_rounds_half_to_even() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5], dtype=np.float32) / np.float32(2**20)
    assert scaled_base(halves).tolist() == [0, 2, 2, 0, -2]
    assert scaled_queries(np.ones(5, dtype=np.float32), halves).tolist() == [0, 2, 2, 0, -2]


def test_micro_rounds_exact_halves_to_even_and_their_neighbours_away() -> None:
    """S · 15625 / 2^34 is a half where S = 2^33 · odd; one unit of S off decides. Up to |score| = 128."""
    sums = []
    for odd in [1, 3, 5, 2**13 + 1, 2**13 + 3, 15_001]:
        sums += [sign * (odd * 2**33 + d) for sign in (1, -1) for d in (-1, 0, 1)]
    got = micro(np.array(sums, dtype=np.float64))
    assert got.tolist() == [half_even(Fraction(s * 10**6, 2**40)) for s in sums]


def test_micro_is_exact_and_monotone_near_halves() -> None:
    rng = np.random.default_rng(5)
    centres = (rng.integers(-(2**22), 2**22, 4000) * 2 + 1) * 2**33 // 15625
    sums = np.sort((centres[:, None] + np.arange(-2, 3)).ravel())
    got = micro(sums.astype(np.float64))
    assert got.tolist() == [half_even(Fraction(int(s) * 10**6, 2**40)) for s in sums]
    assert np.all(np.diff(got) >= 0)


def test_float32_proposals_stay_within_the_derived_error() -> None:
    rng = np.random.default_rng(1)
    x, y = unit(rng.normal(size=(50, 128))), unit(rng.normal(size=(500, 128)))
    q, base = scaled_queries(draw_weights()("tops", "bags"), x), scaled_base(y)
    exact = q @ base.astype(np.float64).T
    norm = np.linalg.norm(base.astype(np.float64), axis=1).max()
    bound = proposal_error(q, norm)
    for order in (slice(None), slice(None, None, -1), rng.permutation(128)):
        worst = np.zeros((50, 500), dtype=np.float32)
        for d in np.arange(128)[order]:  # one after the other: the worst way to sum
            worst += q[:, d].astype(np.float32)[:, None] * base[:, d]
        assert np.all(np.abs(worst - exact) <= bound[:, None])
    assert bound.max() * 1e6 / 2**40 < 30, "so wide a line would send every near tie to the exact search"


def test_keys_order_by_score_then_item_and_give_both_back() -> None:
    score = np.array([[5, -7, 5, 2**31 - 1, -(2**31) + 1, 0]], dtype=np.int32)
    rows = np.array([[9, 1, 3, 2**31 - 1, 0, 4]])
    keys = np.sort(order_keys(score, rows), axis=1)
    assert row_of_key(keys).tolist() == [[2**31 - 1, 3, 9, 4, 1, 0]]
    assert score_of_key(keys).tolist() == [[2**31 - 1, 5, 5, 0, -7, -(2**31) + 1]]


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
def test_vectors_that_would_break_exactness_are_named(value: float) -> None:
    z = unit(np.ones((3, 128)))
    z[1, 0] = value
    with pytest.raises(ValueError, match="shoes: vector 1 "):
        check_vectors(z, "shoes")


@pytest.mark.parametrize(
    ("w", "why"),
    [
        (np.ones(127, dtype=np.float32), "float32"),
        (np.ones(128), "float64"),
        (np.full(128, np.nan, dtype=np.float32), "finite"),
        (np.full(128, 129, dtype=np.float32), "above 128"),
    ],
)
def test_masks_that_break_the_contract_are_refused(w: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_weights(w, "tops with bags")
