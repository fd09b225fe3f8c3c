"""Error rates on corrupted images, and how calls are timed."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from mnistnet.errors import DataError
from mnistnet.metrics.corruptions import CORRUPTIONS, corrupt
from mnistnet.metrics.robustness import corrupt_all, evenly_spaced, measure_robustness
from mnistnet.metrics.timing import spread, time_calls, time_in_turn


def test_robustness_is_the_error_under_each_corruption_with_its_interval(labels, images):
    suite = corrupt_all(images, labels, seed=5)

    def predict(pictures):  # wrong wherever an image is brighter than digits are
        return np.eye(10)[(labels + (pictures.mean(axis=(1, 2)) >= 40)) % 10]

    measured = measure_robustness(predict, suite)
    assert measured.clean_error == pytest.approx((images.mean(axis=(1, 2)) >= 40).mean())
    assert list(measured.corruptions) == list(CORRUPTIONS)
    for name, found in measured.corruptions.items():
        bright = corrupt(images, name, seed=5).mean(axis=(1, 2)) >= 40
        ends = stats.binomtest(int(bright.sum()), 200).proportion_ci(method="wilson")
        expected = {"wrong": bright.sum(), "error": bright.mean(), "low": ends[0], "high": ends[1]}
        assert asdict(found) == pytest.approx(expected)
    errors = [found.error for found in measured.corruptions.values()]
    assert measured.mean_error == pytest.approx(np.mean(errors))
    assert (measured.seed, measured.n) == (5, 200)


def test_no_answer_counts_as_wrong_and_a_missing_row_is_refused(images):
    suite = corrupt_all(images[:3], np.zeros(3, np.uint8))
    measured = measure_robustness(lambda x: np.zeros((len(x), 10)), suite)
    assert measured.clean_error == measured.mean_error == 1
    with pytest.raises(DataError, match="do not match"):
        measure_robustness(lambda _: np.zeros((2, 10)), suite)


def test_a_suite_is_spread_over_the_whole_set():
    assert evenly_spaced(10_000).tolist() == list(range(0, 10_000, 5))
    assert evenly_spaced(3).tolist() == [0, 1, 2]
    spaced = evenly_spaced(3000)
    assert len(spaced) == 2000
    assert spaced[-1] == 2998
    assert set(np.diff(spaced)) == {1, 2}
    assert len(evenly_spaced(0)) == 0


@pytest.fixture
def clock(monkeypatch):
    """A clock that only stands still or is moved by calls."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def test_calls_are_timed_one_by_one_and_two_in_turn_after_one_untimed(clock):
    order = []

    def call(seconds):
        def run():
            clock[0] += seconds
            order.append(seconds)

        return run

    assert time_calls([call(1), call(4)]) == pytest.approx([1, 4])
    order.clear()
    assert time_in_turn(call(6), call(2), rounds=3) == spread([3.0] * 3)
    assert order == [6, 2, *(6, 2), *(2, 6), *(6, 2)]  # either is first every second time


def test_spread_is_the_median_between_the_quartiles():
    assert asdict(spread([4, 1, 3, 2, 5])) == {"median": 3, "low": 2, "high": 4, "n": 5}
