"""Each figure equals scikit-learn's or SciPy's, computed independently."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from mnistnet.errors import DataError
from mnistnet.metrics import scores as metrics

DIGITS = list(range(10))


def predictions_of(seed: int, n: int, sharpness: float = 2.0):
    """Draw labels, and probabilities that mostly favour them."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 10, n)
    logits = draw.normal(size=(n, 10)) * sharpness
    logits[np.arange(n), labels] += 2
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


some_predictions = st.builds(
    predictions_of, st.integers(0, 2**32 - 1), st.integers(1, 200), st.sampled_from([0.1, 2.0, 9.0])
)


@given(some_predictions)
def test_confusion_log_likelihood_and_brier_score_equal_scikit_learns(drawn):
    labels, probabilities = drawn
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    matrix = metrics.confusion_matrix(probabilities, labels)
    assert matrix.tolist() == sk.confusion_matrix(labels, exact.argmax(1), labels=DIGITS).tolist()
    log_loss = sk.log_loss(labels, probabilities, labels=DIGITS)  # of float32, as the smallest is
    brier = sk.brier_score_loss(labels, exact, labels=DIGITS, scale_by_half=False)
    nll = metrics.negative_log_likelihood(probabilities, labels)
    assert nll == pytest.approx(log_loss, rel=1e-5, abs=1e-6)
    assert metrics.brier_score(exact, labels) == pytest.approx(brier, abs=1e-6)


@given(some_predictions)
def test_precision_recall_and_f1_equal_scikit_learns_and_are_none_where_undefined(drawn):
    labels, probabilities = drawn
    answers = probabilities.argmax(axis=1)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, answers, labels=DIGITS, zero_division=np.nan
    )
    for digit, scores in enumerate(metrics.class_scores(probabilities, labels)):
        assert (scores.digit, scores.n) == (digit, support[digit])
        for ours, theirs in (
            (scores.precision, precision[digit]),
            (scores.recall, recall[digit]),
            (scores.f1, f1[digit]),
        ):
            assert (ours is None) == np.isnan(theirs)
            assert ours is None or ours == pytest.approx(theirs)


@given(some_predictions)
def test_reliability_bins_equal_scikit_learns_calibration_curve(drawn):
    labels, probabilities = drawn
    correct = probabilities.argmax(axis=1) == labels
    confidence = np.minimum(probabilities.max(axis=1).astype(np.float64), 1.0)
    accuracies, confidences = calibration_curve(correct, confidence, n_bins=15)
    bins = metrics.reliability_bins(probabilities, labels)
    filled = [b for b in bins if b.n]
    assert len(bins) == 15
    assert sum(b.n for b in bins) == len(labels)
    assert [b.accuracy for b in filled] == pytest.approx(list(accuracies))
    assert [b.confidence for b in filled] == pytest.approx(list(confidences))
    assert all(b.accuracy is None and b.confidence is None for b in bins if not b.n)


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy():
    # Ten images at 95 % of which eight are right, ten at 55 % of which six are.
    probabilities = np.full((20, 10), 0.05 / 9)
    probabilities[:10, 0], probabilities[10:, 0] = 0.95, 0.55
    probabilities[10:, 1:] = 0.45 / 9
    labels = np.array([0] * 8 + [1] * 2 + [0] * 6 + [1] * 4)
    error = metrics.expected_calibration_error(probabilities, labels)
    assert error == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)


@given(some_predictions)
def test_selective_accuracy_is_the_accuracy_of_the_most_confident_images(drawn):
    labels, probabilities = drawn
    confidence, answers = probabilities.max(axis=1), probabilities.argmax(axis=1)
    shares = (1.0, 0.9, 0.5)
    for share, point in zip(
        shares, metrics.selective_accuracy(probabilities, labels, shares), strict=True
    ):
        kept = confidence >= point.threshold
        assert share * len(labels) <= point.answered == kept.sum()
        assert (confidence > point.threshold).sum() < share * len(labels)
        assert point.coverage == pytest.approx(kept.mean())
        assert point.wrong == (answers != labels)[kept].sum()
        assert point.accuracy == pytest.approx(sk.accuracy_score(labels[kept], answers[kept]))


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=60),
    st.lists(st.integers(0, 20), min_size=1, max_size=60),
)
def test_auroc_equals_scikit_learns_and_the_mann_whitney_statistic(positives, negatives):
    ours = metrics.auroc(positives, negatives)
    truth = [1] * len(positives) + [0] * len(negatives)
    assert ours == pytest.approx(sk.roc_auc_score(truth, positives + negatives))
    u = mannwhitneyu(positives, negatives).statistic
    assert ours == pytest.approx(u / (len(positives) * len(negatives)))


def test_all_correct_and_all_wrong_predictions_score_the_ends_of_each_scale():
    labels = np.arange(10)
    right, wrong = np.eye(10), np.roll(np.eye(10), 1, axis=1)
    assert metrics.negative_log_likelihood(right, labels) == 0
    assert metrics.negative_log_likelihood(wrong, labels) == pytest.approx(15.94, abs=0.01)
    assert (metrics.brier_score(right, labels), metrics.brier_score(wrong, labels)) == (0, 2)
    assert metrics.expected_calibration_error(right, labels) == 0
    assert metrics.expected_calibration_error(wrong, labels) == 1


@pytest.mark.parametrize(
    ("probabilities", "labels", "reason"),
    [
        (np.empty((0, 10)), np.empty(0, int), "no images"),
        (np.eye(10), np.arange(9), "do not match"),
        (np.eye(9), np.arange(9), r"expected .* \(N, 10\)"),
        (np.eye(10) * 2, np.arange(10), "sum to 1"),
        (np.full((1, 10), np.nan), [3], "sum to 1"),
        (np.eye(10), np.arange(10) + 1, "from 0 to 9"),
        (np.eye(10), np.arange(10) / 1.0, "whole numbers"),
    ],
)
def test_impossible_predictions_are_refused_in_one_line(probabilities, labels, reason):
    with pytest.raises(DataError, match=reason) as error:
        metrics.negative_log_likelihood(probabilities, labels)
    assert "\n" not in str(error.value)


def test_scores_that_cannot_be_ranked_and_impossible_coverages_are_refused():
    with pytest.raises(DataError, match="at least one positive"):
        metrics.auroc([], [1.0])
    with pytest.raises(DataError, match="not a number"):
        metrics.auroc([float("nan")], [1.0])
    with pytest.raises(DataError, match="coverage 0"):
        metrics.selective_accuracy(np.eye(10), np.arange(10), (0.0,))


@given(some_predictions)
def test_the_best_temperature_undoes_what_made_a_network_too_confident(drawn):
    labels, probabilities = drawn
    if len(labels) < 100 or probabilities.max() > 0.999:
        return
    best = metrics.best_temperature(probabilities, labels)
    for factor in (0.5, 2.0):
        sharpened = probabilities.astype(np.float64) ** factor
        sharpened /= sharpened.sum(axis=1, keepdims=True)
        if 0.1 < best * factor < 10:
            assert metrics.best_temperature(sharpened, labels) == pytest.approx(
                best * factor, rel=1e-3
            )
