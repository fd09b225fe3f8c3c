"""Measure what `mnistnet eval` adds to the scores: robustness, pictures of no digit, speed.

    measure_both_paths(subject, images, labels, on_progress)     # mean errors under corruption
    measure_not_digits(subject, on_progress)                     # {"letters": [0.71, …], …}
    measure_speed(subject, images, on_progress)                  # images a second, ms a picture
    read_pictures(predictor, draw_pictures(images, labels))      # on every processor

Each takes some seconds, and speed differs from one machine to another: no bundle holds them.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnistnet.bundle.verify import largest_difference
from mnistnet.inference.folders import as_row
from mnistnet.inference.predictor import SEVERAL, threads_for
from mnistnet.metrics.negatives import draw_negatives
from mnistnet.metrics.pictures import BLANK, MANY, PicturesRead
from mnistnet.metrics.robustness import corrupt_all, evenly_spaced, measure_robustness
from mnistnet.metrics.timing import spread, time_calls
from mnistnet.report.contents import Speed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.evaluation.subject import Subject
    from mnistnet.inference import Predictor
    from mnistnet.metrics.pictures import PictureSuite
    from mnistnet.metrics.robustness import CorruptionSuite, Robustness

ROUNDS = 20  # of timing many images
PICTURES_TIMED = 100
NOT_DIGITS = 100  # drawn of each kind, the same for every network


class Progress(NamedTuple):
    """How far a part of the work is."""

    what: str
    done: int
    total: int


def measure_both_paths(
    subject: Subject,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    on_progress: Callable[[Progress], None],
) -> dict[str, Robustness]:
    """Return the robustness of the network alone, and of the picture graph."""
    suite = corrupt_all(images, labels)
    predictor = subject.predictor()
    with threads_for(predictor) as pool:

        def through_graph(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.stack([as_row(p) for p in pool.map(predictor.predict, images)])

        return {
            "network": _measured("network", subject.classify, suite, on_progress),
            "picture": _measured("picture graph", through_graph, suite, on_progress),
        }


def _measured(
    path: str,
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    suite: CorruptionSuite,
    on_progress: Callable[[Progress], None],
) -> Robustness:
    done, total = 0, (1 + len(suite.corrupted)) * len(suite.clean)

    def counting(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal done
        rows = predict(images)
        done += len(images)
        on_progress(Progress(f"robustness of the {path}", done, total))
        return rows

    return measure_robustness(counting, suite)


def measure_not_digits(
    subject: Subject, on_progress: Callable[[Progress], None]
) -> dict[str, list[float]]:
    """Return the picture graph's confidence in pictures that show no digit, by kind."""
    predictor, drawn = subject.predictor(), draw_negatives(NOT_DIGITS, seed=0)
    confidences: dict[str, list[float]] = {}
    total = NOT_DIGITS * len(drawn)
    for kind, pictures in drawn.items():
        done = NOT_DIGITS * len(confidences)
        on_progress(Progress("predicting pictures of no digit", done, total))
        confidences[kind] = [p.confidence for p in predictor.predict_many(pictures)]
    return confidences


def classify_all(predictor: Predictor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a bundle's probabilities (N, 10) for uint8 (N, 28, 28), computed on every processor.

    Raises:
        BundleError: digit.onnx cannot be run.
    """
    with threads_for(predictor) as pool:
        parts = np.array_split(images, os.cpu_count() or 1)
        return np.concatenate(list(pool.map(predictor.classify, parts)))


def read_pictures(predictor: Predictor, suite: PictureSuite) -> PicturesRead:
    """Read drawn pictures with a bundle's picture.onnx, and check what it has seen in digit.onnx.

    Raises:
        BundleError: a graph cannot be run.
    """
    with threads_for(predictor) as pool:
        predictions = list(pool.map(predictor.predict, suite.pictures))
    digits = [
        BLANK if p.digit is None else MANY if p.reason == SEVERAL else p.digit for p in predictions
    ]
    expected = predictor.classify(np.stack([p.seen for p in predictions]))
    found = np.stack([p.probabilities for p in predictions])
    return PicturesRead(suite, np.array(digits, np.int8), largest_difference(found, expected))


def measure_speed(
    subject: Subject, images: NDArray[np.uint8], on_progress: Callable[[Progress], None]
) -> Speed:
    """Time many images at once, and pictures of 280×280 pixels one by one."""
    on_progress(Progress("timing", 0, 1))
    images = images[evenly_spaced(len(images))]
    predict = subject.predictor().predict
    pictures = [np.kron(image, np.ones((10, 10), np.uint8)) for image in images[:PICTURES_TIMED]]
    images_s = time_calls([partial(subject.classify, images)] * ROUNDS)
    pictures_s = time_calls([partial(predict, picture) for picture in pictures])
    return Speed(
        images_per_s=spread([len(images) / seconds for seconds in images_s]),
        ms_per_picture=spread([1000 * seconds for seconds in pictures_s]),
        runtime=subject.runtime,
    )
