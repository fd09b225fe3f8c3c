"""Scores of predictions: accuracy, per class, calibration, selective accuracy. NumPy only.

    >>> negative_log_likelihood(probabilities, labels)      # float (N, 10), integers (N,)
    0.0123

Probabilities are (N, 10), one row an image, each row summing to 1; labels are digits (N,). A
prediction is the most probable digit, and its confidence is that digit's probability. Intervals
and paired tests are in `intervals`.

Every function raises DataError where there are no images, where the counts do not match, or
where a value is not a digit or not a probability.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnistnet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DIGITS = 10
BINS = 15  # of confidence
# A probability of 0 counts as this in a logarithm, so that one impossible label costs 16 and not
# infinity: float32's resolution at 1.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


class ClassScores(NamedTuple):
    """The scores of one digit; None where the figure is not defined (nothing to divide by)."""

    digit: int
    n: int
    precision: float | None
    recall: float | None
    f1: float | None


class ReliabilityBin(NamedTuple):
    """The images whose confidence lies in (low, high]; the means are None where n is 0."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


class SelectivePoint(NamedTuple):
    """The figures if only images with a confidence of at least `threshold` are answered.

    `coverage` is their share of all images; `accuracy` is None where there are none.
    """

    coverage: float
    threshold: float
    answered: int
    wrong: int
    accuracy: float | None


def is_correct(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    """Return whether each image is classified correctly, bool (N,).

    A row of zeros is no prediction, which is wrong.
    """
    rows, truth = _fitting(probabilities, labels)
    return np.asarray(rows.any(axis=1) & (rows.argmax(axis=1) == truth))


def confusion_matrix(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Count predictions: int64 (10, 10), a row for each label, a column for each prediction."""
    rows, truth = _checked(probabilities, labels)
    counts = np.bincount(truth * DIGITS + rows.argmax(axis=1), minlength=DIGITS**2)
    return counts.reshape(DIGITS, DIGITS).astype(np.int64)


def class_scores(
    probabilities: ArrayLike, labels: ArrayLike, missed: ArrayLike = ()
) -> list[ClassScores]:
    """Return precision, recall and F1 of each digit (van Rijsbergen 1979).

    Precision is the share of correct ones among the predictions of this digit, recall the share
    of this digit's images that are predicted as it, F1 their harmonic mean. `missed` are the
    labels (M,) of images without a prediction, which lower the recall.
    """
    matrix = confusion_matrix(probabilities, labels)
    unanswered = np.bincount(np.asarray(missed, dtype=np.int64), minlength=DIGITS)
    hits, predicted, n = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1) + unanswered
    return [
        ClassScores(
            digit,
            n=int(n[digit]),
            precision=_share(hits[digit], predicted[digit]),
            recall=_share(hits[digit], n[digit]),
            f1=_share(2 * hits[digit], n[digit] + predicted[digit]),
        )
        for digit in range(DIGITS)
    ]


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean of −ln(probability of the label): 0 is perfect, lower is better."""
    rows, truth = _checked(probabilities, labels)
    of_label = rows[np.arange(len(truth)), truth]
    return float(np.log(1 / np.maximum(of_label, SMALLEST_PROBABILITY)).mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean squared distance to the one-hot label, from 0 to 2.

    Brier 1950 (Monthly Weather Review 78:1–3), in its original form for several classes.
    """
    rows, truth = _checked(probabilities, labels)
    return float(((rows - np.eye(DIGITS)[truth]) ** 2).sum(axis=1).mean())


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean gap between confidence and accuracy over bins of confidence.

    Guo et al. 2017 (ICML, arXiv:1706.04599), eq. 3: bins are weighted by their images.
    """
    filled = [b for b in reliability_bins(probabilities, labels) if b.n]
    gaps = sum(b.n * abs((b.accuracy or 0.0) - (b.confidence or 0.0)) for b in filled)
    return gaps / sum(b.n for b in filled)


def reliability_bins(probabilities: ArrayLike, labels: ArrayLike) -> list[ReliabilityBin]:
    """Group images into bins of equal width by confidence, and return each bin's accuracy."""
    rows, truth = _checked(probabilities, labels)
    confidence, correct = rows.max(axis=1), rows.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, BINS + 1)
    bin_of = np.searchsorted(edges[1:-1], confidence)
    n = np.bincount(bin_of, minlength=BINS)
    sums = [np.bincount(bin_of, values, minlength=BINS) for values in (confidence, correct)]
    return [
        ReliabilityBin(low, high, int(count), _share(confident, count), _share(right, count))
        for low, high, count, confident, right in zip(
            edges[:-1].tolist(), edges[1:].tolist(), n, *sums, strict=True
        )
    ]


def best_temperature(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature at which the negative log-likelihood is lowest, 0.05–20.

    A temperature T turns each row p into p^(1/T), normalised; below 1 it makes confident. The loss
    has one minimum in 1/T, since it is convex there; golden sections close in on it.
    """
    p, y = _checked(probabilities, labels)
    logits = np.log(np.maximum(p, 1e-30))

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(y)), y]).mean())

    low, high, section = -3.0, 3.0, (math.sqrt(5) - 1) / 2
    for _ in range(40):  # to 1e-8
        a, b = high - section * (high - low), low + section * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return math.exp((low + high) / 2)


def selective_accuracy(
    probabilities: ArrayLike,
    labels: ArrayLike,
    coverages: Sequence[float] = (1.0, 0.995, 0.99, 0.98, 0.95, 0.9),
) -> list[SelectivePoint]:
    """Return the accuracy on the most confident images, for several shares of them.

    This is the risk–coverage trade-off of a classifier with a reject option (El-Yaniv & Wiener
    2010, JMLR 11:1605–1641). Images that tie with the last one are answered as well, so the
    coverage returned may be higher than the one asked for, which is above 0 and at most 1.
    """
    rows, truth = _checked(probabilities, labels)
    confidences, wrong = rows.max(axis=1), rows.argmax(axis=1) != truth
    descending = np.sort(confidences)[::-1]
    points = []
    for coverage in coverages:
        if not 0 < coverage <= 1:
            raise DataError(f"coverage {coverage}: must be above 0 and at most 1")
        threshold = descending[int(np.ceil(coverage * len(rows))) - 1]
        points.append(_point(float(threshold), confidences, wrong))
    return points


def accuracy_above(threshold: float, probabilities: ArrayLike, labels: ArrayLike) -> SelectivePoint:
    """Return the accuracy on the images whose confidence is at least `threshold`."""
    rows, truth = _checked(probabilities, labels)
    return _point(threshold, rows.max(axis=1), rows.argmax(axis=1) != truth)


def _point(
    threshold: float, confidences: NDArray[np.float64], wrong: NDArray[np.bool_]
) -> SelectivePoint:
    answered = confidences >= threshold
    n, mistakes = int(answered.sum()), int(wrong[answered].sum())
    return SelectivePoint(n / len(wrong), threshold, n, mistakes, _share(n - mistakes, n))


def worst_mistakes(probabilities: ArrayLike, labels: ArrayLike, k: int) -> NDArray[np.int64]:
    """Return the indices of up to k wrong predictions, the least probable label first."""
    rows, truth = _checked(probabilities, labels)
    wrong = np.flatnonzero(rows.argmax(axis=1) != truth)
    order = np.argsort(rows[wrong, truth[wrong]], kind="stable")
    return wrong[order][:k].astype(np.int64)


def auroc(positive_scores: ArrayLike, negative_scores: ArrayLike) -> float:
    """Return the probability that a positive scores above a negative; a tie counts as half.

    This is the area under the ROC curve (Hanley & McNeil 1982, Radiology 143:29–36): 1 is
    perfect separation, 0.5 is chance.
    """
    positives = np.asarray(positive_scores, dtype=np.float64).ravel()
    negatives = np.sort(np.asarray(negative_scores, dtype=np.float64).ravel())
    if not len(positives) or not len(negatives):
        raise DataError("AUROC needs at least one positive and one negative score")
    if np.isnan(positives).any() or np.isnan(negatives).any():
        raise DataError("AUROC cannot rank a score that is not a number")
    below = np.searchsorted(negatives, positives, side="left")
    not_above = np.searchsorted(negatives, positives, side="right")
    return float((below + not_above).mean() / (2 * len(negatives)))


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _checked(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities (N, 10) and labels (N,) as float64 and int64, after checking them."""
    rows, truth = _fitting(probabilities, labels)
    if not len(rows):
        raise DataError("there are no images to evaluate")
    # Half precision rounds a row's sum by up to a few thousandths. NaN fails both comparisons.
    if not ((rows >= 0).all() and (abs(rows.sum(axis=1) - 1) < 0.01).all()):
        raise DataError("probabilities must be at least 0 and sum to 1 for each image")
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= DIGITS:
        raise DataError("labels must be whole numbers from 0 to 9")
    return rows, truth.astype(np.int64)


def _fitting(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    rows, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if truth.ndim != 1 or rows.shape != (len(truth), DIGITS):
        raise DataError(
            f"labels {truth.shape} and probabilities {rows.shape} do not match; "
            f"expected (N,) and (N, {DIGITS})"
        )
    return rows, truth
