"""What predictions score: accuracy, per class, calibration, and where they fail. NumPy only.

    >>> negative_log_likelihood(probabilities, labels)      # float (N, 10), integers (N,)
    0.0123

Probabilities are (N, 10), one row an image, each row summing to 1; labels are digits (N,).
A prediction is the likeliest digit, and its confidence is that digit's probability. How sure
a figure is, and whether two models differ, is in `certainty`.

Every function raises DataError where there are no images, where the counts do not match, or
where a value is not a digit or not a probability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnistnet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DIGITS = 10

# What a probability of 0 counts as in a logarithm: float32's resolution at 1, so that one
# impossible answer costs 16 and not infinity.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


class ClassScores(NamedTuple):
    """How one digit fares; None where the figure is not defined (nothing to divide by)."""

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
    """What is left if only images with a confidence of at least `threshold` are answered.

    The coverage is the share of images that are; their accuracy is None where there are none.
    """

    coverage: float
    threshold: float
    answered: int
    wrong: int
    accuracy: float | None


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Give the share of correct answers."""
    truth, answers = _digits(labels, predictions)
    return float((truth == answers).mean())


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike) -> NDArray[np.int64]:
    """Count answers: int64 (10, 10), a row for the true digit, a column for the answer."""
    truth, answers = _digits(labels, predictions)
    counts = np.bincount(truth * DIGITS + answers, minlength=DIGITS**2)
    return counts.reshape(DIGITS, DIGITS).astype(np.int64)


def class_scores(
    labels: ArrayLike, predictions: ArrayLike, missed: ArrayLike = ()
) -> list[ClassScores]:
    """Give precision, recall and F1 of each digit (van Rijsbergen 1979).

    Precision: of the images called this digit, the share that are. Recall: of the images of
    this digit, the share that were found. F1: their harmonic mean.

    Args:
        labels: integers (N,).
        predictions: integers (N,).
        missed: the labels (M,) of images that got no answer at all; they count as not found.
    """
    matrix = confusion_matrix(labels, predictions)
    unanswered = np.bincount(np.asarray(missed, dtype=np.int64), minlength=DIGITS)
    hits, actual, called = matrix.diagonal(), matrix.sum(axis=1) + unanswered, matrix.sum(axis=0)
    return [
        ClassScores(
            digit,
            n=int(actual[digit]),
            precision=_share(hits[digit], called[digit]),
            recall=_share(hits[digit], actual[digit]),
            f1=_share(2 * hits[digit], actual[digit] + called[digit]),
        )
        for digit in range(DIGITS)
    ]


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Give the mean of −ln(probability of the true digit): 0 is perfect, lower is better."""
    rows, truth = _checked(probabilities, labels)
    of_label = rows[np.arange(len(truth)), truth]
    return float(np.log(1 / np.maximum(of_label, SMALLEST_PROBABILITY)).mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Give the mean squared distance to the truth, summed over the digits, from 0 to 2.

    Brier 1950 (Monthly Weather Review 78:1–3), in its original form for several classes.
    """
    rows, truth = _checked(probabilities, labels)
    return float(((rows - np.eye(DIGITS)[truth]) ** 2).sum(axis=1).mean())


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> float:
    """Give the mean gap between confidence and accuracy over bins of confidence.

    Guo et al. 2017 (ICML, arXiv:1706.04599), eq. 3: each bin weighs as many images as it holds.
    """
    filled = [b for b in reliability_bins(probabilities, labels, bins) if b.n]
    gaps = sum(b.n * abs((b.accuracy or 0.0) - (b.confidence or 0.0)) for b in filled)
    return gaps / sum(b.n for b in filled)


def reliability_bins(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> list[ReliabilityBin]:
    """Sort images into bins of equal width by confidence, and give each bin's accuracy."""
    rows, truth = _checked(probabilities, labels)
    confidence, correct = rows.max(axis=1), rows.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_of = np.searchsorted(edges[1:-1], confidence)
    n = np.bincount(bin_of, minlength=bins)
    total_confidence = np.bincount(bin_of, weights=confidence, minlength=bins)
    total_correct = np.bincount(bin_of, weights=correct, minlength=bins)
    return [
        ReliabilityBin(
            float(edges[i]),
            float(edges[i + 1]),
            int(n[i]),
            confidence=_share(total_confidence[i], n[i]),
            accuracy=_share(total_correct[i], n[i]),
        )
        for i in range(bins)
    ]


def selective_accuracy(
    probabilities: ArrayLike,
    labels: ArrayLike,
    coverages: Sequence[float] = (1.0, 0.995, 0.99, 0.98, 0.95, 0.9),
) -> list[SelectivePoint]:
    """Give the accuracy on the most confident images, for several shares of them.

    This is the risk–coverage trade-off of a classifier that may say "not sure" (El-Yaniv &
    Wiener 2010, JMLR 11:1605–1641). Images that tie with the last one are answered as well, so
    the coverage given back may lie above the one asked for.

    Args:
        probabilities: float (N, 10).
        labels: integers (N,).
        coverages: shares of images to answer, each above 0 and at most 1.
    """
    rows, truth = _checked(probabilities, labels)
    confidence, wrong = rows.max(axis=1), rows.argmax(axis=1) != truth
    descending = np.argsort(-confidence)
    wrong_so_far = np.cumsum(wrong[descending])
    points = []
    for coverage in coverages:
        if not 0 < coverage <= 1:
            raise DataError(f"coverage {coverage}: must be above 0 and at most 1")
        threshold = confidence[descending[int(np.ceil(coverage * len(rows))) - 1]]
        n = int(np.searchsorted(-confidence[descending], -threshold, side="right"))
        points.append(_selective_point(float(threshold), n, int(wrong_so_far[n - 1]), len(rows)))
    return points


def accuracy_above(threshold: float, probabilities: ArrayLike, labels: ArrayLike) -> SelectivePoint:
    """Give the accuracy on the images whose confidence is at least `threshold`."""
    rows, truth = _checked(probabilities, labels)
    answered = rows.max(axis=1) >= threshold
    n = int(answered.sum())
    wrong = int((rows.argmax(axis=1) != truth)[answered].sum())
    return _selective_point(threshold, n, wrong, len(truth))


def worst_mistakes(probabilities: ArrayLike, labels: ArrayLike, k: int) -> NDArray[np.int64]:
    """Give the places of up to k wrong answers, the least probable label first."""
    rows, truth = _checked(probabilities, labels)
    wrong = np.flatnonzero(rows.argmax(axis=1) != truth)
    order = np.argsort(rows[wrong, truth[wrong]], kind="stable")
    return wrong[order][:k].astype(np.int64)


def auroc(positive_scores: ArrayLike, negative_scores: ArrayLike) -> float:
    """Give the probability that a positive scores above a negative; a tie counts as half.

    This is the area under the ROC curve (Hanley & McNeil 1982, Radiology 143:29–36): 1 tells
    the two apart perfectly, 0.5 is guessing.
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


def _selective_point(threshold: float, n: int, wrong: int, of: int) -> SelectivePoint:
    return SelectivePoint(n / of, threshold, n, wrong, _share(n - wrong, n))


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _digits(
    labels: ArrayLike, predictions: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take labels and predictions, both digits (N,), or say what is wrong with them."""
    truth, answers = np.asarray(labels), np.asarray(predictions)
    if truth.ndim != 1 or truth.shape != answers.shape:
        raise DataError(f"labels {truth.shape} and predictions {answers.shape} do not match")
    if not len(truth):
        raise DataError("there are no images to evaluate")
    for name, digits in (("labels", truth), ("predictions", answers)):
        if digits.dtype.kind not in "iu" or digits.min() < 0 or digits.max() >= DIGITS:
            raise DataError(f"{name} must be whole numbers from 0 to 9")
    return truth.astype(np.int64), answers.astype(np.int64)


def _checked(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Take probabilities (N, 10) and labels (N,), or say what is wrong with them."""
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != DIGITS:
        raise DataError(f"probabilities have shape {rows.shape}; expected (N, {DIGITS})")
    # Half precision rounds a row's sum by up to a few thousandths. NaN fails both comparisons.
    if not ((rows >= 0).all() and (abs(rows.sum(axis=1) - 1) < 0.01).all()):
        raise DataError("probabilities must be at least 0 and sum to 1 for each image")
    truth, _ = _digits(labels, rows.argmax(axis=1))
    return rows, truth
