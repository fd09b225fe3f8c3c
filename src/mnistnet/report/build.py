"""The report as data: a plain dictionary that is written as `report.json` and drawn as HTML.

    >>> report = build_report(labels, probabilities, images, dataset={"name": "MNIST test"},
    ...                       model={"name": "default"})
    >>> report["accuracy"]
    {'n': 10000, 'correct': 9967, 'wrong': 33, 'value': 0.9967, 'low': 0.99537, 'high': 0.99765}

It holds figures first and pictures last, nothing that JSON cannot, and no timings but those
under `speed`. Floats are rounded to six significant digits, so that the last bits of an
arithmetic unit do not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.data.sets import MNIST_SHA256
from mnistnet.errors import DataError
from mnistnet.metrics import scores as metrics
from mnistnet.metrics.corruptions import corrupt
from mnistnet.metrics.intervals import mcnemar_exact, paired_difference, wilson_interval
from mnistnet.report import png
from mnistnet.report.album import Album, answer_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from mnistnet.data import DataSet

FORMAT = 1

# Test images of MNIST whose label people have shown to be wrong: Northcutt, Athalye & Mueller
# 2021 (NeurIPS, arXiv:2103.14749), validated by human raters.
MNIST_TEST_LABEL_ERRORS = frozenset(
    (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)
)

SHOWN_MISTAKES = 24
SHOWN_FLIPS = 12  # of each kind, where two models are compared
SHOWN_SPOILT = 5  # digits in a corruption's picture
SIGNIFICANT = 0.05  # p-value below which two models are said to differ

# Where the curve of accuracy against coverage is drawn: finer where it bends.
CURVE = (*(i / 100 for i in range(50, 99)), *(i / 1000 for i in range(990, 1001)))


@dataclass(frozen=True)
class Against:
    """The model to compare with: what it is called, its answers to the same images, its origin."""

    name: str
    probabilities: ArrayLike  # (N, 10); a row of zeros is no answer
    model: Mapping[str, Any] | None = None


def build_report(
    labels: ArrayLike,
    probabilities: ArrayLike,
    images: NDArray[np.uint8],
    *,
    dataset: Mapping[str, Any],
    model: Mapping[str, Any],
    label_errors: Collection[int] = (),
    file_names: Sequence[str] | None = None,
    undecoded: Mapping[str, str] | None = None,
    threshold: float | None = None,
    not_digits: Mapping[str, ArrayLike] | None = None,
    robustness: Mapping[str, Mapping[str, Any]] | None = None,
    against: Against | None = None,
    speed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge a model's answers.

    An image without an answer counts as wrong. Where a figure is made of probabilities, it is
    left out, since it has none; `unread` says how many those are.

    Args:
        labels: integers (N,), the truth.
        probabilities: float (N, 10), the model's answers; a row of zeros is no answer, which the
            model gives where it finds no ink.
        images: uint8 (N, 28, 28), what the network was shown, for the pictures.
        dataset: `name`, and whatever else says what was measured on (split, hashes).
        model: `name`; where known `parameters` and `size_bytes` (a number for each file); and
            whatever says where it came from (recipe, data hashes, commit, versions).
        label_errors: places of images whose label is known to be wrong;
            `MNIST_TEST_LABEL_ERRORS` where the data set is MNIST's test set.
        file_names: of each image, where they are people's own.
        undecoded: files that are no images, and so not among the N: name → why.
        threshold: the confidence below which the product says "not sure".
        not_digits: for each kind of picture that is no digit, the confidences (M,) it was
            answered with.
        robustness: `measure_robustness`'s result for each path: `network` and `picture`.
        against: another model's answers to the same images.
        speed: what was timed, units in the names; a figure, or its `median`, `low` and `high`
            quartile, and `n`.

    Raises:
        DataError: there are no images, none was answered, the counts do not match, or a value
            is impossible.
    """
    all_labels, all_answers = np.asarray(labels), np.asarray(probabilities)
    album = Album(images, all_labels, all_answers, frozenset(label_errors), file_names)
    answered = album.answered()
    truth, answers = all_labels[answered], all_answers[answered]
    read_as = answers.argmax(axis=1)
    missed = np.delete(all_labels, answered)
    worst = answered[metrics.worst_mistakes(answers, truth, SHOWN_MISTAKES)]
    report: dict[str, Any] = {
        "format": FORMAT,
        "dataset": dict(dataset),
        "model": dict(model),
        "accuracy": _accuracy(album.is_right()),
        "negative_log_likelihood": metrics.negative_log_likelihood(answers, truth),
        "brier_score": metrics.brier_score(answers, truth),
        "classes": [row._asdict() for row in metrics.class_scores(truth, read_as, missed)],
        "confusion_matrix": metrics.confusion_matrix(truth, read_as).tolist(),
        "calibration": _calibration(truth, answers),
        "selective": _selective(truth, answers, threshold),
        "mistakes": album.add(worst),
    }
    if album.label_errors:
        report["mislabelled"] = album.count_mislabelled()
    if len(missed) or undecoded:
        report["unread"] = album.unread() | {"undecoded": dict(undecoded or {})}
    if not_digits:
        report["not_digits"] = _not_digits(answers, not_digits, threshold)
    if robustness:
        report["robustness"] = {path: dict(measured) for path, measured in robustness.items()}
    if against:
        report["against"] = _comparison(album, against)
    if speed:
        report["speed"] = dict(speed)
    report["pictures"] = {"images": album.pictures} | _spoilt(images, all_labels, robustness)
    return {key: _plain(value) for key, value in report.items()}


def report_on(
    dataset: DataSet,
    probabilities: NDArray[np.float32],
    *,
    model: dict[str, Any],
    judged_on: str = "test",
    name: str = "the data set",
    **parts: Any,
) -> dict[str, Any]:
    """Report on a data set's test images.

    Args:
        dataset: its `test` part is judged on.
        probabilities: (N, 10), the model's answers to it.
        model: what the report says of the model, see `build_report`.
        judged_on: `test`, or `validation` where held-out images are in the test set's place.
        name: of the data set where it is not known to be MNIST; in a bundle, whose bytes do not
            depend on where its data lay, it has none.
        parts: what else `build_report` takes.
    """
    is_mnists = _is_mnists_test_set(dataset)
    return build_report(
        dataset.test.labels,
        probabilities,
        dataset.test.images,
        dataset={
            "name": f"{'MNIST' if is_mnists else name}’s {judged_on} images",
            "sha256": dataset.sha256,
        },
        model=model,
        label_errors=MNIST_TEST_LABEL_ERRORS if is_mnists else (),
        **parts,
    )


def _accuracy(is_right: NDArray[np.bool_]) -> dict[str, Any]:
    n, correct = len(is_right), int(is_right.sum())
    low, high = wilson_interval(correct, n)
    counts = {"n": n, "correct": correct, "wrong": n - correct}
    return counts | {"value": correct / n, "low": low, "high": high}


def _calibration(truth: NDArray[Any], answers: NDArray[Any]) -> dict[str, Any]:
    bins = []
    for row in metrics.reliability_bins(answers, truth):
        bounds: dict[str, Any] = {"accuracy_low": None, "accuracy_high": None}
        if row.accuracy is not None:
            interval = wilson_interval(round(row.accuracy * row.n), row.n)
            bounds = {f"accuracy_{end}": bound for end, bound in interval._asdict().items()}
        bins.append(row._asdict() | bounds)
    return {
        "expected_calibration_error": metrics.expected_calibration_error(answers, truth),
        "bins": bins,
    }


def _selective(
    truth: NDArray[Any], answers: NDArray[Any], threshold: float | None
) -> dict[str, Any]:
    points = metrics.selective_accuracy(answers, truth)
    curve = metrics.selective_accuracy(answers, truth, CURVE)
    selective: dict[str, Any] = {
        "points": [point._asdict() for point in points],
        "curve": sorted({(point.coverage, point.accuracy) for point in curve}),
    }
    if threshold is not None:
        selective["chosen"] = metrics.accuracy_above(threshold, answers, truth)._asdict()
    return selective


def _not_digits(
    answers: NDArray[Any], not_digits: Mapping[str, ArrayLike], threshold: float | None
) -> list[dict[str, Any]]:
    """Say for each kind how well confidence tells it from digits, and how much is refused."""
    rows = []
    for kind, confidences in not_digits.items():
        scores = np.asarray(confidences, dtype=np.float64)
        auroc = metrics.auroc(answers.max(axis=1), scores)
        row = {"kind": kind, "n": len(scores), "auroc": auroc}
        if threshold is not None:
            row["refused"] = int((scores < threshold).sum())
        rows.append(row)
    return rows


def _comparison(album: Album, against: Against) -> dict[str, Any]:
    """Compare with another model, image by image; a gain is one that only this model has right."""
    theirs = np.asarray(against.probabilities)
    if theirs.shape != album.probabilities.shape:
        raise DataError(
            f"{against.name} answered {theirs.shape}, this model {album.probabilities.shape}: "
            "both must answer the same images"
        )
    other, this = album.is_right(theirs), album.is_right()
    test, difference = mcnemar_exact(other, this), paired_difference(other, this)
    flips = {}
    for name, places in (("gained", this & ~other), ("lost", other & ~this)):
        shown = np.flatnonzero(places)[:SHOWN_FLIPS]
        flips[name] = [
            entry | {"other_answer": answer_of(theirs[entry["index"]])}
            for entry in album.add(shown)
        ]
    return {
        "name": against.name,
        "model": dict(against.model or {}),
        "accuracy": _accuracy(other),
        "n_gained": test.n01,
        "n_lost": test.n10,
        "p": test.p,
        **difference._asdict(),
        "verdict": _verdict(test.n01, test.n10, test.p),
        **flips,
    }


def _verdict(gained: int, lost: int, p: float) -> str:
    if p >= SIGNIFICANT:
        return "cannot tell"
    return "better" if gained > lost else "worse"


def _spoilt(
    images: NDArray[np.uint8],
    truth: NDArray[Any],
    robustness: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Show the first image of a few digits side by side, clean and spoilt in each way."""
    if not robustness:
        return {}
    measured = next(iter(robustness.values()))
    _, firsts = np.unique(truth, return_index=True)
    places = np.sort(firsts)[:SHOWN_SPOILT]
    row = images[places]
    strips = {"clean": row} | {
        name: corrupt(row, name, seed=measured["seed"]) for name in measured["corruptions"]
    }
    pictures = {name: png.data_uri(np.hstack(strip)) for name, strip in strips.items()}
    return {"corruptions": pictures, "spoilt_digits": truth[places].tolist()}


def _plain(value: Any) -> Any:
    """Turn figures into what JSON holds, floats rounded to six significant digits."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}")
    return int(value) if isinstance(value, np.integer) else value


def _is_mnists_test_set(dataset: DataSet) -> bool:
    known = {name: sha for name, sha in MNIST_SHA256.items() if name.startswith("t10k")}
    return all(dataset.sha256[name] == digest for name, digest in known.items())
