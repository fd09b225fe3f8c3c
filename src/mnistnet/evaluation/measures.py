"""What `mnistnet eval` measures beside the answers: under corruption, on no digits, against time.

    measure_robustness(model, images, labels, print)    # mean errors, on both paths
    measure_not_digits(model, print)                    # {"letters": [0.71, …], …}
    measure_speed(model, images, print)                 # images a second, ms a picture

Each takes some seconds, and the last is another on every machine: no bundle holds them.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnistnet.inference.labelled import as_row
from mnistnet.metrics.negatives import draw_negatives
from mnistnet.metrics.robustness import measure_robustness as robustness_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.evaluation.subject import Judged

IMAGES = 2000  # spread over the whole test set, whose halves are of different writers
ROBUSTNESS_PASSES = 16  # the fifteen corruptions, and the images as they are
ROUNDS = 20  # of timing many images
PICTURES_TIMED = 100
NOT_DIGITS = 100  # drawn of each kind, the same for every model


class Progress(NamedTuple):
    """How far a part of the work is."""

    what: str
    done: int
    total: int


def measure_robustness(
    model: Judged,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    on_progress: Callable[[Progress], None],
) -> dict[str, dict[str, Any]]:
    """Spoil images in every way, and have the network and the picture graph read them."""
    images, labels = _some(images), _some(labels)
    predictor = model.predictor()
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def through_graph(spoilt: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.stack([as_row(answer) for answer in pool.map(predictor.predict, spoilt)])

        return {
            "network": _measured("network", model.classify, images, labels, on_progress),
            "picture": _measured("picture graph", through_graph, images, labels, on_progress),
        }


def _measured(
    path: str,
    answer: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    on_progress: Callable[[Progress], None],
) -> dict[str, Any]:
    done, total = 0, ROBUSTNESS_PASSES * len(images)

    def counting(spoilt: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal done
        rows = answer(spoilt)
        done += len(spoilt)
        on_progress(Progress(f"robustness of the {path}", done, total))
        return rows

    return robustness_of(counting, images, labels)


def measure_not_digits(
    model: Judged, on_progress: Callable[[Progress], None]
) -> dict[str, list[float]]:
    """Have the picture graph read pictures that show no digit: its confidence in each, by kind."""
    predictor, drawn = model.predictor(), draw_negatives(NOT_DIGITS, seed=0)
    confidences: dict[str, list[float]] = {}
    total = NOT_DIGITS * len(drawn)
    for kind, pictures in drawn.items():
        done = NOT_DIGITS * len(confidences)
        on_progress(Progress("reading pictures of no digit", done, total))
        confidences[kind] = [answer.confidence for answer in predictor.predict_many(pictures)]
    return confidences


def measure_speed(
    model: Judged, images: NDArray[np.uint8], on_progress: Callable[[Progress], None]
) -> dict[str, Any]:
    """Time many images at once, and pictures of 280×280 pixels one by one."""
    on_progress(Progress("timing", 0, 1))
    images = _some(images)
    predict = model.predictor().predict
    pictures = [np.kron(image, np.ones((10, 10), np.uint8)) for image in images[:PICTURES_TIMED]]
    model.classify(images), predict(pictures[0])  # what the first call sets up is not timed
    rounds_s = [_time_s(model.classify, images) for _ in range(ROUNDS)]
    pictures_s = [_time_s(predict, picture) for picture in pictures]
    return {
        "images_per_s": _spread([len(images) / seconds for seconds in rounds_s]),
        "ms_per_picture": _spread([1000 * seconds for seconds in pictures_s]),
        "runtime": model.runtime,
    }


def _some(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take as many as are measured on, from all over the set."""
    n = min(IMAGES, len(array))
    return array[np.arange(n) * len(array) // n]


def _time_s(answer: Callable[[Any], object], question: Any) -> float:
    started = time.perf_counter()
    answer(question)
    return time.perf_counter() - started


def _spread(values: list[float]) -> dict[str, float]:
    low, median, high = (float(q) for q in np.percentile(values, (25, 50, 75)))
    return {"median": median, "low": low, "high": high, "n": len(values)}
