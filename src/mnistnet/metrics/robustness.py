"""How many more mistakes a model makes when pictures are spoilt.

>>> measured = measure_robustness(predict, images, labels)
>>> measured["mean_error"]
0.061
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.errors import DataError
from mnistnet.metrics.corruptions import CORRUPTIONS, DEFAULT_SEVERITY, corrupt
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.metrics.scores import DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray


def measure_robustness(
    predict: Callable[[NDArray[np.uint8]], ArrayLike],
    images: NDArray[np.uint8],
    labels: ArrayLike,
    *,
    severity: int = DEFAULT_SEVERITY,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a model's error on images spoilt in each of the fifteen ways.

    Args:
        predict: takes images, uint8 (N, 28, 28), and gives probabilities (N, 10); a row of zeros
            is no answer, which is wrong.
        images: uint8 (N, 28, 28), not spoilt.
        labels: integers (N,).
        severity: 1 to 5; 3 is as strong as MNIST-C.
        seed: of the corruptions.

    Returns:
        What JSON can hold: `severity`, `seed`, `n`, `clean_error`, `mean_error` (over the
        fifteen, each weighing the same), and under `corruptions` for each name its `wrong`
        answers, `error` and that error's 95 % interval, `low` and `high`.

    Raises:
        DataError: of `corrupt`, or the predictions do not fit the labels.
    """
    n = len(images)
    n_wrong = _count_wrong(predict(images), labels)
    corruptions = {}
    for name in CORRUPTIONS:
        spoilt = corrupt(images, name, severity=severity, seed=seed)
        wrong = _count_wrong(predict(spoilt), labels)
        low, high = wilson_interval(wrong, n)
        corruptions[name] = {"wrong": wrong, "error": wrong / n, "low": low, "high": high}
    errors = [measured["error"] for measured in corruptions.values()]
    return {
        "severity": severity,
        "seed": seed,
        "n": n,
        "clean_error": n_wrong / n,
        "mean_error": math.fsum(errors) / len(errors),
        "corruptions": corruptions,
    }


def _count_wrong(probabilities: ArrayLike, labels: ArrayLike) -> int:
    rows, truth = np.asarray(probabilities), np.asarray(labels)
    if rows.shape != (len(truth), DIGITS) or not len(truth):
        raise DataError(f"{len(truth)} labels, but probabilities have shape {rows.shape}")
    return int((~rows.any(axis=1) | (rows.argmax(axis=1) != truth)).sum())
