"""Build the report on a model's predictions, part by part.

    predictions = Predictions(Dataset("MNIST’s test images"), images, labels, probabilities)
    report = build(predictions, Model("default"), threshold=0.7)
    report = with_comparison(report, predictions, Model("fast-1"), other_probabilities)
    report.against.verdict                            # better, worse, or cannot tell

A row of zeros among the probabilities is no prediction: the model found no ink. Such an image
counts as a mistake; figures on probabilities leave it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mnistnet.data.sets import MNIST_SHA256
from mnistnet.errors import DataError
from mnistnet.metrics import scores
from mnistnet.metrics.intervals import mcnemar_exact, paired_difference, wilson_interval
from mnistnet.report.contents import (
    SIDE,
    Accuracy,
    Comparison,
    Dataset,
    LabelErrors,
    Model,
    NotDigits,
    Report,
    Sample,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from mnistnet.data import DataSet
    from mnistnet.metrics.robustness import Robustness

# Test images of MNIST whose label people have shown to be wrong: Northcutt, Athalye & Mueller
# 2021 (NeurIPS, arXiv:2103.14749), validated by human raters.
MNIST_TEST_LABEL_ERRORS = frozenset(
    (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)
)

SHOWN_MISTAKES = 24
SHOWN_FLIPS = 12  # of each kind, where two models are compared
SHOWN_CORRUPTED = 5  # digits in a corruption's picture
SIGNIFICANT = 0.05  # p-value below which two models are said to differ

# Where the curve of accuracy against coverage is drawn: finer where it bends.
COVERAGES = (*(i / 100 for i in range(50, 99)), *(i / 1000 for i in range(990, 1001)))


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's predictions on labelled images.

    Attributes:
        dataset: what the images are.
        images: uint8 (N, 28, 28), as the network takes them.
        labels: integers (N,).
        probabilities: float (N, 10).
        label_errors: indices of images whose label is known to be wrong.
        file_names: of each image, where they are people's own pictures.
        hypotheses: what each was taken to show, for the image to be made of it.
        original: returns the picture in a file, small and as PNG; None if it is gone.
        undecoded: files that are no images, and so not among the N: name → why.
    """

    dataset: Dataset
    images: NDArray[np.uint8]
    labels: NDArray[Any]
    probabilities: NDArray[Any]
    label_errors: Collection[int] = ()
    file_names: Sequence[str] | None = None
    hypotheses: Sequence[str | None] | None = None
    original: Callable[[str], bytes | None] | None = None
    undecoded: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that all fit together. Raises DataError."""
        n, images = len(self.labels), self.images
        if images.dtype != np.uint8 or images.shape != (n, SIDE, SIDE):
            raise DataError(
                f"{n} labels, but images are {images.dtype} of shape {images.shape}; "
                f"expected uint8 ({n}, {SIDE}, {SIDE})"
            )
        if n and not self.probabilities.any():
            raise DataError(f"no ink was found in any of the {n:,} images: nothing to evaluate")

    @classmethod
    def on(
        cls,
        dataset: DataSet,
        probabilities: NDArray[np.float32],
        *,
        split: str = "test",
        name: str = "the data set",
    ) -> Predictions:
        """Return the predictions on a data set's test images.

        Args:
            dataset: whose `test` part the probabilities (N, 10) are of.
            probabilities: float (N, 10).
            split: `validation` where held-out images are in the test set's place.
            name: of the data set where it is not known to be MNIST.
        """
        files = {name: sha for name, sha in MNIST_SHA256.items() if name.startswith("t10k")}
        is_mnist = files.items() <= dataset.sha256.items()
        return cls(
            Dataset(f"{'MNIST' if is_mnist else name}’s {split} images", dataset.sha256),
            dataset.test.images,
            dataset.test.labels,
            probabilities,
            label_errors=MNIST_TEST_LABEL_ERRORS if is_mnist else (),
        )

    @property
    def made(self) -> NDArray[np.bool_]:
        """Whether there is a prediction for each image: bool (N,)."""
        return np.asarray(self.probabilities.any(axis=1))

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image is classified correctly: bool (N,)."""
        return scores.is_correct(self.probabilities, self.labels)

    def name(self, index: int) -> str:
        """Return the name of an image's file, or its index."""
        return f"image {index}" if self.file_names is None else self.file_names[index]

    def samples(
        self, indices: NDArray[np.intp], other: NDArray[Any] | None = None
    ) -> tuple[Sample, ...]:
        """Return some images, with their predictions and those of another model, to be shown."""
        return tuple(
            Sample(
                index=i,
                name=self.name(i),
                label=int(self.labels[i]),
                prediction=_prediction(self.probabilities[i]),
                confidence=float(self.probabilities[i].max()),
                label_probability=float(self.probabilities[i, self.labels[i]]),
                is_label_error=i in self.label_errors,
                pixels=self.images[i].tobytes(),
                hypothesis=self.hypotheses[i] if self.hypotheses else None,
                original=self.original(self.name(i)) if self.original else None,
                other_prediction=None if other is None else _prediction(other[i]),
            )
            for i in indices.tolist()
        )


def build(predictions: Predictions, model: Model, *, threshold: float | None = None) -> Report:
    """Compute what follows from a model's predictions and labels alone.

    `threshold` is the confidence below which the model is not sure.

    Raises:
        DataError: there are no images, or a value is no probability or no digit.
    """
    correct, made = predictions.correct, predictions.made
    labels, rows = predictions.labels[made], predictions.probabilities[made]
    matrix = scores.confusion_matrix(rows, labels)
    worst = np.flatnonzero(made)[scores.worst_mistakes(rows, labels, SHOWN_MISTAKES)]
    missed = np.flatnonzero(~made).tolist()
    answered = scores.selective_accuracy(rows, labels, COVERAGES)
    curve = {(point.coverage, point.accuracy) for point in answered if point.accuracy is not None}
    return Report(
        dataset=predictions.dataset,
        model=model,
        accuracy=_accuracy(correct),
        negative_log_likelihood=scores.negative_log_likelihood(rows, labels),
        brier_score=scores.brier_score(rows, labels),
        classes=tuple(scores.class_scores(rows, labels, predictions.labels[missed])),
        confusion_matrix=tuple(map(tuple, matrix.tolist())),
        expected_calibration_error=scores.expected_calibration_error(rows, labels),
        reliability=tuple(scores.reliability_bins(rows, labels)),
        selective=tuple(scores.selective_accuracy(rows, labels)),
        coverage_curve=tuple(sorted(curve)),
        at_threshold=None if threshold is None else scores.accuracy_above(threshold, rows, labels),
        mistakes=predictions.samples(worst),
        label_errors=_label_errors(predictions),
        no_ink={predictions.name(i): int(predictions.labels[i]) for i in missed},
        undecoded=dict(predictions.undecoded),
    )


def with_comparison(
    report: Report, predictions: Predictions, model: Model, probabilities: NDArray[Any]
) -> Report:
    """Add the comparison with another model, by its probabilities (N, 10) on the same images.

    Raises:
        DataError: they are not of as many images.
    """
    other, this = replace(predictions, probabilities=probabilities).correct, predictions.correct
    test, difference = mcnemar_exact(other, this), paired_difference(other, this)
    better_or_worse: Literal["better", "worse"] = "better" if test.n01 > test.n10 else "worse"
    comparison = Comparison(
        model=model,
        accuracy=_accuracy(other),
        verdict="cannot tell" if test.p >= SIGNIFICANT else better_or_worse,
        p=test.p,
        **difference._asdict(),
        n_gained=test.n01,
        n_lost=test.n10,
        gained=predictions.samples(np.flatnonzero(this & ~other)[:SHOWN_FLIPS], probabilities),
        lost=predictions.samples(np.flatnonzero(other & ~this)[:SHOWN_FLIPS], probabilities),
    )
    return replace(report, against=comparison)


def with_not_digits(
    report: Report, predictions: Predictions, confidences: Mapping[str, ArrayLike]
) -> Report:
    """Add how well confidence tells digits from pictures that show none.

    `confidences` are the model's on pictures of each kind, (M,).
    """
    threshold = report.at_threshold and report.at_threshold.threshold
    digits = predictions.probabilities[predictions.made].max(axis=1)
    rows = []
    for kind, values in confidences.items():
        others = np.asarray(values, dtype=np.float64)
        refused = None if threshold is None else int((others < threshold).sum())
        rows.append(NotDigits(kind, len(others), scores.auroc(digits, others), refused))
    return replace(report, not_digits=tuple(rows))


def with_robustness(
    report: Report, predictions: Predictions, robustness: dict[str, Robustness]
) -> Report:
    """Add the error of each path under each corruption, and what that makes of a few digits."""
    from mnistnet.metrics.corruptions import corrupt  # a run's report does without

    measured = next(iter(robustness.values()))
    _, firsts = np.unique(predictions.labels, return_index=True)
    indices = np.sort(firsts)[:SHOWN_CORRUPTED]
    row = predictions.images[indices]
    strips = {name: corrupt(row, name, seed=measured.seed) for name in measured.corruptions}
    corrupted = {name: np.hstack(list(strip)).tobytes() for name, strip in strips.items()}
    return replace(report, robustness=robustness, corrupted=corrupted)


def _prediction(row: NDArray[Any]) -> int | None:
    return int(row.argmax()) if row.any() else None


def _accuracy(correct: NDArray[np.bool_]) -> Accuracy:
    n, k = len(correct), int(correct.sum())
    return Accuracy(n, k, n - k, k / n, *wilson_interval(k, n))


def _label_errors(predictions: Predictions) -> LabelErrors | None:
    known = [i for i in predictions.label_errors if i < len(predictions.labels)]
    wrong = int((~predictions.correct[known]).sum())
    return LabelErrors(len(known), wrong) if predictions.label_errors else None
