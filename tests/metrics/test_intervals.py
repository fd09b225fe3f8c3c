"""Intervals and paired tests equal SciPy's, published figures, or a search by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from mnistnet.errors import DataError
from mnistnet.metrics.intervals import (
    mcnemar_exact,
    mean_interval,
    paired_difference,
    wilson_interval,
)


def answers_of(both: int, only_b: int, only_a: int, neither: int):
    """Build two models' right (True) and wrong answers from the four counts."""
    a = [True] * both + [False] * only_b + [True] * only_a + [False] * neither
    b = [True] * both + [True] * only_b + [False] * only_a + [False] * neither
    return np.array(a), np.array(b)


@given(st.integers(1, 20_000), st.floats(0, 1))
def test_wilson_interval_equals_scipys(n, share):
    correct = round(share * n)
    expected = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_an_accuracy_of_no_images_is_refused(correct, n):
    with pytest.raises(DataError, match="n ≥ 1"):
        wilson_interval(correct, n)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_mean_interval_over_seeds_equals_scipys(values):
    ours = mean_interval(values)
    sd = np.std(values, ddof=1)
    half = stats.t.ppf(0.975, len(values) - 1) * sd / np.sqrt(len(values))
    mean = np.mean(values)
    assert ours == pytest.approx((mean, sd, mean - half, mean + half), abs=1e-9)


def test_an_interval_from_one_seed_is_refused():
    with pytest.raises(DataError, match="two or more"):
        mean_interval([0.99])
    with pytest.raises(DataError, match="finite"):
        mean_interval([0.99, float("nan")])


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_mcnemar_equals_scipys_binomial_test(only_b, only_a, both):
    n01, n10, p = mcnemar_exact(*answers_of(both, only_b, only_a, 0))
    flipped = only_b + only_a
    expected = stats.binomtest(only_b, flipped).pvalue if flipped else 1.0
    assert (n01, n10) == (only_b, only_a)
    assert p == pytest.approx(expected, rel=1e-9)


def test_mcnemar_stays_exact_with_thousands_of_flips():
    p = mcnemar_exact(*answers_of(0, 4900, 5100, 0)).p
    assert p == pytest.approx(stats.binomtest(4900, 10_000).pvalue, rel=1e-9)
    assert mcnemar_exact(*answers_of(0, 10_000, 0, 0)).p == 0  # below what a float can hold


def test_paired_interval_equals_the_published_example():
    # Airway hyper-responsiveness before and after transplantation: Fagerland et al. 2014.
    low, high = paired_difference(*answers_of(1, 1, 7, 12))[1:]
    assert (low, high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def score_by_brute_force(d, n01, n10, n):
    """Maximise the likelihood of the counts under a true difference d, then standardise."""

    def unlikelihood(share):
        cells = [(n01, share + d), (n10, share), (n - n01 - n10, 1 - 2 * share - d)]
        return -sum(count * np.log(max(p, 1e-300)) for count, p in cells if count)

    bounds = (max(0.0, -d), (1 - d) / 2)
    share = optimize.minimize_scalar(
        unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-13}
    ).x
    return (n01 - n10 - n * d) / np.sqrt(n * (2 * share + d - d * d))


@pytest.mark.parametrize(
    ("both", "only_b", "only_a", "neither"),
    [(9950, 12, 5, 33), (990, 3, 1, 6), (40, 8, 15, 2), (9, 1, 0, 0), (0, 3, 2, 0)],
)
def test_paired_interval_ends_where_the_score_test_starts_to_refuse(both, only_b, only_a, neither):
    n = both + only_b + only_a + neither
    difference, low, high = paired_difference(*answers_of(both, only_b, only_a, neither))
    assert difference == (only_b - only_a) / n
    assert low < difference < high
    assert score_by_brute_force(low, only_b, only_a, n) == pytest.approx(1.96, abs=0.01)
    assert score_by_brute_force(high, only_b, only_a, n) == pytest.approx(-1.96, abs=0.01)


def test_paired_interval_of_models_that_agree_everywhere_still_has_a_width():
    difference, low, high = paired_difference(*answers_of(990, 0, 0, 10))
    # The score interval of no flips among n is ± z²/(n + z²).
    assert (difference, low, high) == pytest.approx((0, -0.003827, 0.003827), abs=1e-6)


def test_predictions_for_different_images_are_refused():
    for test in (mcnemar_exact, paired_difference):
        with pytest.raises(DataError, match="same images"):
            test([True, False], [True])
        with pytest.raises(DataError, match="at least one"):
            test([], [])
