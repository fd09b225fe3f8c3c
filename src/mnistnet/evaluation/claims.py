"""Compare what a manifest claims of its network's accuracy with the same, measured again.

claims = compare_claims(manifest, dataset, probabilities, predictor.classify)
[claim for claim in claims if not claim.is_within(0.0005)]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistnet.data.sets import TEST
from mnistnet.errors import DataError
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.metrics.scores import expected_calibration_error, negative_log_likelihood

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.data import DataSet

    Probabilities = NDArray[np.float32]
    Classify = Callable[[NDArray[np.uint8]], Probabilities]


@dataclass(frozen=True)
class Claim:
    """A figure of a manifest, NaN where it is no number, and the same as measured."""

    name: str
    claimed: float
    measured: float

    def is_within(self, difference: float) -> bool:
        """Whether the two differ by no more than this."""
        return abs(self.claimed - self.measured) <= difference


def compare_claims(
    manifest: Manifest, dataset: DataSet, probabilities: Probabilities, classify: Classify
) -> tuple[Claim, ...] | None:
    """Return every figure of `metrics` (docs/BUNDLE.md) with the same as it is measured.

    Args:
        manifest: the bundle's, which may hold anything.
        dataset: what to measure on: its test images, or held-out training images where the
            manifest's figures are of these.
        probabilities: (N, 10), of its test images.
        classify: uint8 (N, 28, 28) to probabilities (N, 10).

    Returns:
        None where the manifest's figures are of other data.
    """
    if any(manifest.origin.data.get(name) != dataset.sha256[name] for name in TEST):
        return None
    labels, n = dataset.test.labels, manifest.origin.recipe.get("validation")
    if manifest.metrics.get("judged_on") == "validation":
        try:
            held_out = dataset.hold_out(n if type(n) is int else 0).test
        except DataError:
            return (Claim("validation images", math.nan, 0),)
        labels, probabilities = held_out.labels, classify(held_out.images)
    measured = _measure(probabilities, labels)
    claimed = {
        name: float(value) if type(value) in (int, float) else math.nan
        for name, value in manifest.metrics.items()
    }
    if "correct" in claimed:
        claimed["correct"] /= len(labels)  # as a share, like the other figures
    return tuple(Claim(k, claimed[k], figure) for k, figure in measured.items() if k in claimed)


def _measure(probabilities: Probabilities, labels: NDArray[np.uint8]) -> dict[str, float]:
    """Return the figures by their names in a manifest."""
    n, correct = len(labels), int((probabilities.argmax(1) == labels).sum())
    low, high = wilson_interval(correct, n)
    return {
        "n": n,
        "correct": correct / n,
        "accuracy": correct / n,
        "accuracy_low": low,
        "accuracy_high": high,
        "negative_log_likelihood": negative_log_likelihood(probabilities, labels),
        "calibration_error": expected_calibration_error(probabilities, labels),
    }
