"""Error rates on corrupted images.

    suite = corrupt_all(images, labels)         # up to 2,000 images, in all fifteen ways
    measure_robustness(predict, suite).mean_error

A suite is made once, and every network that is to be compared is measured on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.metrics.corruptions import CORRUPTIONS, corrupt
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.metrics.scores import is_correct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

MAX_IMAGES = 2000


@dataclass(frozen=True, eq=False)
class CorruptionSuite:
    """The same images, clean and under each corruption."""

    seed: int
    labels: NDArray[np.uint8]  # (N,)
    clean: NDArray[np.uint8]  # (N, 28, 28)
    corrupted: Mapping[str, NDArray[np.uint8]]  # (N, 28, 28) each


@dataclass(frozen=True)
class CorruptionError:
    """The error under one corruption: wrong predictions, their share, its 95 % interval."""

    wrong: int
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Robustness:
    """Errors as shares of n images; `mean_error` weighs every corruption equally."""

    seed: int
    n: int
    clean_error: float
    mean_error: float
    corruptions: dict[str, CorruptionError]


def evenly_spaced(n: int) -> NDArray[np.intp]:
    """Return the indices of up to 2,000 of n images, spread over all of them.

    The two halves of MNIST's test set were written by different people.
    """
    k = min(n, MAX_IMAGES)
    return np.arange(k) * n // max(k, 1)


def corrupt_all(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], *, seed: int = 0
) -> CorruptionSuite:
    """Corrupt up to 2,000 evenly spaced images, uint8 (N, 28, 28), in each of the fifteen ways.

    Raises:
        DataError: the images have another shape or type.
    """
    chosen = evenly_spaced(len(images))
    clean = images[chosen]
    corrupted = {name: corrupt(clean, name, seed=seed) for name in CORRUPTIONS}
    return CorruptionSuite(seed, labels[chosen], clean, corrupted)


def measure_robustness(
    predict: Callable[[NDArray[np.uint8]], ArrayLike], suite: CorruptionSuite
) -> Robustness:
    """Return a network's error rate on clean images and under each corruption.

    `predict` returns probabilities (N, 10) for uint8 (N, 28, 28); a row of zeros means no
    prediction, which counts as wrong.

    Raises:
        DataError: there are no images, or the predictions have another shape.
    """
    n = len(suite.labels)
    n_wrong = int((~is_correct(predict(suite.clean), suite.labels)).sum())
    corruptions = {}
    for name, images in suite.corrupted.items():
        wrong = int((~is_correct(predict(images), suite.labels)).sum())
        corruptions[name] = CorruptionError(wrong, wrong / n, *wilson_interval(wrong, n))
    errors = [measured.error for measured in corruptions.values()]
    return Robustness(suite.seed, n, n_wrong / n, math.fsum(errors) / len(errors), corruptions)
