"""Measure bundles for the gate: on test images, as a fresh process serves them, and in time."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnistnet.bundle.verify import largest_difference
from mnistnet.bundle.weights import read_weights, reference_probabilities
from mnistnet.files import scratch_folder
from mnistnet.gate.checks import Evidence, Measured, Parity, Served
from mnistnet.inference import Predictor
from mnistnet.metrics.robustness import corrupt_all, measure_robustness
from mnistnet.metrics.scores import expected_calibration_error
from mnistnet.metrics.timing import time_in_turn
from mnistnet.model.architecture import parameter_count

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.data import Split
    from mnistnet.metrics.timing import Spread

PARITY_IMAGES = 100  # the reference takes 6 ms for each
BATCH = 128  # images in a round of the timing; as many as the predictor takes at once
ROUNDS = 60
SERVE_TIMEOUT_S = 60
TRAINING_PACKAGES = ("torch", "onnx", "onnxscript", "safetensors")

# Reads pictures with a bundle where nothing is installed for training.
SERVE = f"""
import sys
sys.modules.update(dict.fromkeys({TRAINING_PACKAGES!r}))
from mnistnet import Predictor
print(*(prediction.digit for prediction in Predictor(sys.argv[1]).predict_many(sys.argv[2:])))
"""


def measure(candidate: Path, champion: Path | None, best: Path | None, test: Split) -> Evidence:
    """Measure a candidate, and whatever it is compared with, on the same test images.

    Raises:
        BundleError: a bundle is damaged.
    """
    parity = _parity(candidate, test.images)
    measured = measure_bundles([b for b in (candidate, champion, best) if b], test)
    times = _times(candidate, champion, test.images) if champion else (None, None)
    return Evidence(
        measured[candidate],
        parity,
        serve(candidate, test),
        measured[champion] if champion else None,
        measured[best] if best else None,
        *times,
    )


def measure_bundles(bundles: Iterable[Path], test: Split) -> dict[Path, Measured]:
    """Measure bundles on the same images, clean and corrupted.

    Raises:
        BundleError: a bundle is damaged.
    """
    suite = corrupt_all(test.images, test.labels)
    measured = {}
    for bundle in bundles:
        predictor = Predictor(bundle)
        probabilities = predictor.classify(test.images)
        measured[bundle] = Measured(
            correct=probabilities.argmax(1) == test.labels,
            calibration_error=expected_calibration_error(probabilities, test.labels),
            robustness=measure_robustness(predictor.classify, suite),
            parameters=parameter_count(),
            size_bytes=sum(file.size_bytes for file in predictor.manifest.files.values()),
        )
    return measured


def _parity(bundle: Path, images: NDArray[np.uint8]) -> Parity:
    """Compare digit.onnx with the weights, computed in float64, on images from all over the set."""
    some = images[:: max(1, len(images) // PARITY_IMAGES)][:PARITY_IMAGES]
    predictor = Predictor(bundle)
    expected = reference_probabilities(read_weights(bundle, predictor.manifest), some)
    return Parity(largest_difference(predictor.classify(some), expected), len(some))


def serve(bundle: Path, test: Split, timeout_s: float = SERVE_TIMEOUT_S) -> Served:
    """Have a fresh process without torch read a picture of each digit."""
    digits, firsts = np.unique(test.labels, return_index=True)
    with scratch_folder() as folder:
        pictures = [folder / f"{digit}.png" for digit in digits]
        for picture, first in zip(pictures, firsts, strict=True):
            Image.fromarray(_as_picture(test.images[first])).save(picture)
        command = [sys.executable, "-P", "-c", SERVE, str(bundle.resolve()), *map(str, pictures)]
        try:
            done = subprocess.run(  # noqa: S603 – our own program
                command, capture_output=True, text=True, check=False, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            return Served(0, len(digits), f"no answer within {timeout_s} s")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Served(0, len(digits), f"the process failed ({last:.200})")
    answers = done.stdout.split()
    return Served(sum(a == str(d) for a, d in zip(answers, digits, strict=True)), len(digits))


def _as_picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a test image as people send pictures: four times as large, dark ink on paper."""
    return np.pad(255 - image.repeat(4, axis=0).repeat(4, axis=1), 14, constant_values=255)


def _times(candidate: Path, champion: Path, images: NDArray[np.uint8]) -> tuple[Spread, Spread]:
    """Time a batch of images, and one picture, of both bundles in turn."""
    ours, theirs = Predictor(candidate), Predictor(champion)
    batch, picture = images[:BATCH], _as_picture(images[0])
    return (
        time_in_turn(partial(ours.classify, batch), partial(theirs.classify, batch), ROUNDS),
        time_in_turn(partial(ours.predict, picture), partial(theirs.predict, picture), ROUNDS),
    )
