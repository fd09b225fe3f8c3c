"""Compare what a bundle says of its network with the same, measured again.

    claims = compare_claims(predictor.bundle, manifest, dataset, probabilities, predictor.classify)
    claims.problem or claims.false(0.0005)

Its manifest, card and report have the same figures (`verify` checks that), so those of the manifest
are measured. Card and manifest must be what this program writes, since nobody can measure what else
they might say.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mnistnet.bundle.documents import card
from mnistnet.bundle.manifest import MANIFEST, MAX_MANIFEST_BYTES, PAGE, read_at_most, read_file
from mnistnet.data.sets import TEST, TRAIN
from mnistnet.errors import DataError
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.metrics.scores import expected_calibration_error, negative_log_likelihood

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.data import DataSet

    Probabilities = NDArray[np.float32]
    Classify = Callable[[NDArray[np.uint8]], Probabilities]


EXPORT_AGAIN = "export the run again, or the bundle (mnistnet export BUNDLE -o NEW)"


@dataclass(frozen=True)
class Claim:
    """A figure of a manifest, and the same as measured."""

    name: str
    claimed: float
    measured: float

    def is_within(self, difference: float) -> bool:
        """Whether the two differ by no more than this."""
        return abs(self.claimed - self.measured) <= difference


@dataclass(frozen=True)
class Claims:
    """Every figure of a manifest; none where there is a problem, why they cannot be compared."""

    figures: tuple[Claim, ...] = ()
    problem: str = ""

    def false(self, difference: float) -> list[Claim]:
        """Return the figures that differ by more than this from what is measured."""
        return [claim for claim in self.figures if not claim.is_within(difference)]


def compare_claims(
    bundle: Path,
    manifest: Manifest,
    dataset: DataSet,
    probabilities: Probabilities,
    classify: Classify,
) -> Claims:
    """Return every figure of `metrics` (docs/BUNDLE.md) with the same as it is measured.

    Args:
        bundle: a verified one.
        manifest: the bundle's.
        dataset: what to measure on: its test images, or held-out training images where the
            manifest's figures are of these.
        probabilities: (N, 10), of its test images.
        classify: uint8 (N, 28, 28) to probabilities (N, 10).

    Raises:
        BundleError: a file of the bundle cannot be read.
    """
    metrics, labels = manifest.metrics, dataset.test.labels
    if metrics is None or metrics.judged_on not in ("test", "validation"):
        return Claims(problem=f"its manifest claims no figures of a known split; {EXPORT_AGAIN}")
    for name in TEST if metrics.judged_on == "test" else TRAIN:
        named, here = manifest.origin.data.get(name), dataset.sha256[name]
        if named != here:
            problem = f"its figures are of other data: {name} is {named!s:.12}… in its manifest and"
            problem += f" {here:.12}… in {dataset.source}; name the manifest's data with --data"
            return Claims(problem=problem)
    if (bundle / PAGE).exists():
        return Claims(problem=f"{PAGE} lies in the bundle, which nobody can measure; move it away")
    is_card = read_file(bundle, "README.md", manifest) == card(manifest)
    if not is_card or read_at_most(MAX_MANIFEST_BYTES, bundle / MANIFEST) != manifest.to_bytes():
        problem = "its README.md or manifest.json is not as this version writes them"
        return Claims(problem=f"{problem}; {EXPORT_AGAIN}")
    if metrics.judged_on == "validation":
        n = manifest.origin.recipe.get("validation")
        try:
            held_out = dataset.hold_out(n if type(n) is int else 0).test
        except DataError as error:
            return Claims(problem=str(error))
        labels, probabilities = held_out.labels, classify(held_out.images)
    measured, claimed = _measure(probabilities, labels), asdict(metrics)
    claimed["correct"] /= len(labels)  # as a share, like the other figures
    return Claims(tuple(Claim(name, claimed[name], figure) for name, figure in measured.items()))


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
