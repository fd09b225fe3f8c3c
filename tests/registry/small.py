"""Digits so few, and rules so wide for them, that a release is a matter of seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnistnet.data import idx

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.data import DataSet

RULES = """\
course_accuracy = 0.8
accuracy_floor = 0.8
calibration_error = 0.3
loss_to_champion_points = 8
loss_to_best_points = 8
corruption_excess_points = 30
latency_ratio = 9
"""


def write_few_digits(mnist: DataSet, folder: Path) -> Path:
    """Write the first 6,000 training digits and the first 200 of the test's."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, split, n in (("train", mnist.train, 6000), ("t10k", mnist.test, 200)):
        idx.write(folder / f"{prefix}-images-idx3-ubyte", split.images[:n])
        idx.write(folder / f"{prefix}-labels-idx1-ubyte", split.labels[:n])
    return folder
