"""Bootstrap intervals: the same by seed, as wide as theory says, wider with seeds that disagree; paired differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from medal_model.evaluation import rank_auc
from medal_model.intervals import auc_of, bootstrap, difference_of, macro_mean_of, mean_of

RNG = np.random.default_rng(0)
HITS = (RNG.random(400) < 0.6).astype(float)
LABELS = np.arange(300) % 2 == 0
SCORES = RNG.normal(0, 1, 300) + LABELS


def test_estimates_are_the_plain_figures() -> None:
    assert bootstrap([mean_of(HITS)], 400).value == pytest.approx(HITS.mean())
    pairs = itertools.product(SCORES[LABELS], SCORES[~LABELS])
    assert bootstrap([auc_of(SCORES, LABELS)], 300, strata=LABELS).value == pytest.approx(
        np.mean([a > b for a, b in pairs])
    )
    groups = np.arange(400) % 3
    want = np.mean([HITS[groups == g].mean() for g in range(3)])
    assert bootstrap([macro_mean_of(HITS, groups)], 400).value == pytest.approx(want)


@pytest.mark.parametrize("levels", [3, 1000])
def test_weighted_auc_is_that_of_repeated_outfits(levels: int) -> None:
    scores, labels = RNG.integers(0, levels, 30).astype(float), np.arange(30) % 3 == 0
    counts = RNG.integers(0, 3, (5, 30)).astype(float)
    for row, got in zip(counts, rank_auc(scores, labels, counts), strict=True):
        s, own = np.repeat(scores, row.astype(int)), np.repeat(labels, row.astype(int))
        pairs = list(itertools.product(s[own], s[~own]))
        assert got == pytest.approx(sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs))


def test_macro_mean_leaves_out_categories_absent_from_a_draw() -> None:
    statistic = macro_mean_of(np.array([1.0, 0.0, 0.5]), np.array([0, 0, 1]))
    got = statistic(np.array([[1.0, 1, 1], [2, 0, 1], [1, 1, 0]]))
    assert got == pytest.approx([(0.5 + 0.5) / 2, (1 + 0.5) / 2, 0.5])


def test_same_seed_same_interval() -> None:
    draw = [bootstrap([auc_of(SCORES, LABELS)], 300, strata=LABELS, seed=s) for s in (1, 1, 2)]
    assert draw[0] == draw[1] != draw[2]


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    got = bootstrap([mean_of(HITS)], 400, draws=8000)
    half = 1.96 * HITS.std() / np.sqrt(400)
    assert (got.high - got.low) / 2 == pytest.approx(half, rel=0.06)
    assert got.low < got.value < got.high


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    rng, held = np.random.default_rng(5), 0
    for n in range(300):
        got = bootstrap([mean_of((rng.random(150) < 0.6).astype(float))], 150, seed=n, draws=400)
        held += got.low <= 0.6 <= got.high
    assert 0.91 <= held / 300 <= 0.985


def test_auc_intervals_cover_the_truth() -> None:
    from math import erf

    truth = 0.5 * (1 + erf(0.5))  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    rng, held, labels = np.random.default_rng(6), 0, np.arange(120) % 2 == 0
    for n in range(150):
        scores = rng.normal(0, 1, 120) + labels
        got = bootstrap([auc_of(scores, labels)], 120, strata=labels, seed=n, draws=400)
        held += got.low <= truth <= got.high
    assert 0.89 <= held / 150 <= 0.99


def test_seeds_that_agree_add_nothing_and_seeds_that_disagree_widen() -> None:
    one = bootstrap([mean_of(HITS)], 400)
    same = bootstrap([mean_of(HITS)] * 3, 400)
    assert (same.low, same.high, same.seeds) == (one.low, one.high, 3)
    spread = bootstrap([mean_of(HITS), mean_of(HITS + 0.1), mean_of(HITS - 0.1)], 400, draws=8000)
    assert spread.value == pytest.approx(one.value)
    # Variance of questions plus that of a mean of three seeds, 0.1^2 / 3 with n - 1.
    want = np.sqrt(HITS.var() / 400 + 0.1**2 / 3)
    assert (spread.high - spread.low) / 2 == pytest.approx(1.96 * want, rel=0.1)


def test_paired_differences_know_that_both_answered_the_same_questions() -> None:
    worse = HITS.copy()
    worse[np.flatnonzero(HITS)[:12]] = 0.0
    got = bootstrap([difference_of(mean_of(HITS), mean_of(worse))], 400)
    assert got.value == pytest.approx(12 / 400)
    assert got.low > 0  # although the two intervals overlap widely


def test_nothing_to_resample_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 units"):
        bootstrap([mean_of(HITS)], 0)
    with pytest.raises(ValueError, match="0 seeds"):
        bootstrap([], 10)
