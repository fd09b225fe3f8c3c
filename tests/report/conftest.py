"""A report that has every part, on 200 test images; its name and file names are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mnistnet.metrics.corruptions import CORRUPTIONS
from mnistnet.metrics.robustness import CorruptionError, Robustness
from mnistnet.metrics.timing import Spread
from mnistnet.provenance import Origin
from mnistnet.report.build import (
    Predictions,
    build,
    with_comparison,
    with_not_digits,
    with_robustness,
)
from mnistnet.report.contents import CurvePoint, Dataset, Model, Report, Speed

ORIGIN = Origin(
    recipe={"name": "release", "epochs": 30},
    data={"t10k-images-idx3-ubyte": "cd" * 32},
    source={"commit": "0123abc", "dirty": False},
    environment={"threads": 2},
    versions={"torch": "2.13.0"},
)
CORRUPTION_ERRORS = {
    name: CorruptionError(i, i / 200, i / 300, i / 150) for i, name in enumerate(CORRUPTIONS)
}
ROBUSTNESS = Robustness(0, 200, 0.01, 0.035, CORRUPTION_ERRORS)


@pytest.fixture(scope="session")
def predictions(labels, answers, images) -> Predictions:
    """A model's predictions; known label errors are two of its mistakes, and 947 beyond these."""
    wrong = np.flatnonzero(answers.argmax(axis=1) != labels)[:2].tolist()
    right = int(np.flatnonzero(answers.argmax(axis=1) == labels)[0])
    dataset = Dataset("MNIST", {"t10k-images-idx3-ubyte": "ab" * 32})
    return Predictions(dataset, images, labels, answers, label_errors=[*wrong, right, 947])


@pytest.fixture(scope="session")
def make_report(predictions, other_answers) -> Callable[..., Report]:
    """A function that returns a report with every part, on a model of this name."""

    def make(name: str = "default") -> Report:
        named = replace(
            predictions,
            file_names=[f"{name} {i}.png" for i in range(200)],
            undecoded={f"{name}.jpg": "is damaged"},
        )
        model = Model(name, "bundle", 20826, {f"{name}.onnx": 86_123}, {}, ORIGIN)
        report = build(named, model, threshold=0.7)
        report = with_comparison(report, named, Model(f"runs/{name}"), other_answers)
        report = with_not_digits(report, named, {"letters": [0.2, 0.9, 0.5], "blank": [0.1]})
        report = with_robustness(report, named, dict.fromkeys(("network", "picture"), ROBUSTNESS))
        spread = Spread(38245.4, 37000.2, 39000.0, 20)
        speed = Speed(spread, Spread(1.23456, 1.2, 1.3, 100), "ONNX Runtime")
        curves = [CurvePoint(1 + i // 4, 100 * (i % 4), 2 - i / 8, i / 8) for i in range(8)]
        return replace(report, speed=speed, curves=tuple(curves))

    return make


@pytest.fixture(scope="session")
def report(make_report) -> Report:
    return make_report()
