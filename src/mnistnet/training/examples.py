"""What a recipe trains on: the training images, drawn handwriting, and outliers.

    examples = examples_of(recipe, data.train)        # in this order, one after another

Outliers are pictures of no digit, and their targets are flat: no class is more probable than
another (Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data.sets import Split
from mnistnet.errors import RecipeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnistnet.training.recipe import Recipe

CLASSES = 10


@dataclass(frozen=True, eq=False)
class Examples:
    """Images with soft targets.

    Attributes:
        images: uint8 (N, 28, 28), ink bright on dark.
        targets: float32 (N, 10), probabilities.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.targets)


def examples_of(recipe: Recipe, train: Split) -> Examples:
    """Return what a recipe trains on; the seed decides what is drawn.

    Raises:
        RecipeError: nothing is left to train on.
    """
    smoothing, n = recipe.label_smoothing, _kept(recipe, len(train))
    if n < 1:
        raise RecipeError(
            f"calibration is {recipe.calibration}, but there are only {len(train)} training images;"
            " lower it"
        )
    images, labels = train.images[:n], train.labels[:n]
    digits, outliers = _drawn(recipe, n)
    if not digits + outliers:
        return Examples(images, smooth_labels(labels, smoothing))
    drawn, none = _draw(digits, outliers, recipe.seed)
    targets = (
        smooth_labels(labels, smoothing),
        smooth_labels(drawn.labels, smoothing),
        np.full((len(none), CLASSES), 1 / CLASSES, np.float32),
    )
    return Examples(np.concatenate([images, drawn.images, none]), np.concatenate(targets))


def calibration_split(recipe: Recipe, train: Split) -> Split:
    """Return the training images that are held out to fit the temperature on; there may be none."""
    n = _kept(recipe, len(train))
    return Split(train.images[n:], train.labels[n:])


def count_examples(recipe: Recipe, n: int) -> int:
    """Count what a recipe trains on where there are n training images."""
    kept = _kept(recipe, n)
    return kept + sum(_drawn(recipe, kept))


def _kept(recipe: Recipe, n: int) -> int:
    return n - recipe.calibration


def _drawn(recipe: Recipe, n: int) -> tuple[int, int]:
    """Return how many digits and how many outliers are drawn for n training images."""
    return round(n * recipe.handwriting), round(n * recipe.outliers)


@lru_cache(maxsize=1)  # seconds of drawing, asked for again when a run shows its first batch
def _draw(digits: int, outliers: int, seed: int) -> tuple[Split, NDArray[np.uint8]]:
    from mnistnet.data.handwriting import draw_digits  # here, since most runs draw nothing
    from mnistnet.data.outliers import draw_outliers

    return draw_digits(digits, seed), draw_outliers(outliers, seed)


def smooth_labels(labels: NDArray[np.uint8], smoothing: float) -> NDArray[np.float32]:
    """Return one-hot targets with label smoothing (Szegedy et al. 2016).

    Args:
        labels: uint8 (N,), 0–9.
        smoothing: the share of each target that is spread evenly over all ten classes, 0–1.

    Returns:
        float32 (N, 10); each row adds up to 1.
    """
    return (np.eye(10) * (1 - smoothing) + smoothing / 10).astype(np.float32)[labels]
