"""Measure and plot how cost grows with epochs, images and threads, and accuracy with time.

    python benchmarks/growth.py cost          # 3 minutes → docs/growth.svg
    python benchmarks/growth.py accuracy      # 5 minutes → docs/accuracy.svg
    python benchmarks/growth.py plot          # draw both again, from growth.json

Cost is of whole processes: `mnistnet train` on MNIST's images, repeated or cut to a number, one
process after the other. For each number of epochs two strengths of augmentation are tried, one of
them is chosen on held-out images, and then the test accuracy of that is measured with new networks.
An interrupted accuracy series continues where it stopped. All points are in growth.json.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mnistnet import data as datasets
from mnistnet.data import idx
from mnistnet.data.sets import KEYS
from mnistnet.files import read_json, write_bytes, write_json
from mnistnet.report.page import Axis, environment
from mnistnet.training.recipe import Recipe
from mnistnet.training.trials import trials

ROOT = Path(__file__).resolve().parent.parent
POINTS = ROOT / "benchmarks" / "growth.json"
IMAGES = (6_000, 150_000, 300_000, 450_000, 600_000)  # with one epoch
EPOCHS = (1, 10, 20, 30, 40, 50)  # with 6,000 images
THREADS = (2, 1)
SEEDS = {1: 6, 2: 4, 4: 3, 8: 2, 16: 1, 30: 1}  # epochs → networks for each figure
AUGMENTATION = ("rotation_deg", "scale", "shear", "shift_px")
FACTORS = (1, 2)  # how strong the augmentation is, against `fast`

CHART = """{% import "charts.html" as charts %}
{% call charts.chart(x, y, x_name, y_name, y_name ~ " against " ~ x_name) %}
{% for name, points in lines %}
<polyline class="line{{ loop.index0 }}"
 points="{% for a, b, _, _ in points %}{{ x(a) }},{{ y(b) }} {% endfor %}"/>
{% for a, b, low, high in points %}
<line x1="{{ x(a) }}" x2="{{ x(a) }}" y1="{{ y(low) }}" y2="{{ y(high) }}" class="whisker"/>
<circle cx="{{ x(a) }}" cy="{{ y(b) }}" r="3"/>
{% endfor %}
{% set a, b, _, _ = points | last %}
<text x="{{ x(a) - 6 }}" y="{{ y(b) + (30, -6)[loop.index0] }}" text-anchor="end">{{ name }}</text>
{% endfor %}
{% endcall %}"""
STYLE = """<style>
svg { background: #fff } text { font: 11px sans-serif; fill: #57606a } .grid { stroke: #d0d7de }
.whisker { stroke: #1b1f24 }
polyline { fill: none; stroke-width: 2; stroke: #0b5cad } .line1 { stroke: #a04a00 }
circle { fill: #1b1f24 }
</style>"""


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    images: int
    epochs: int
    threads: int
    wall_s: float
    peak_mb: float


@dataclass(frozen=True)
class Accuracy:
    """The mean test accuracy of n networks that were trained for some epochs."""

    epochs: int
    n: int
    train_s: float  # mean
    accuracy: float
    factor: int  # of the augmentation, chosen on held-out images
    validation: list[float]  # accuracy with each of FACTORS
    spread: list[float]  # the lowest and the highest accuracy


class LogAxis(Axis):
    """An axis on which equal distances are equal ratios."""

    def __call__(self, value: float) -> float:
        """Return the place of a value, in pixels."""
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        return round(
            self.start + (self.end - self.start) * (math.log(value) - low) / (high - low), 1
        )


def main() -> None:
    """Measure what is asked for, keep the points, and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("cost", "accuracy", "plot"))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "growth", help="for accuracy")
    options = parser.parse_args()
    points = read_json(POINTS) if POINTS.exists() else {}
    if options.what == "cost":
        points["cost"] = [asdict(point) for point in measure_cost()]
    elif options.what == "accuracy":
        points["accuracy"] = [asdict(measure_accuracy(e, options.runs)) for e in SEEDS]
    write_json(POINTS, points)
    if "cost" in points:
        write_bytes(ROOT / "docs" / "growth.svg", draw_cost(points["cost"]).encode())
    if "accuracy" in points:
        write_bytes(ROOT / "docs" / "accuracy.svg", draw_accuracy(points["accuracy"]).encode())


# ---- measuring


def measure_cost() -> list[Cost]:
    """Train with all numbers of images and epochs, and print a line for each process."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for images in IMAGES:
            folder = Path(scratch) / str(images)
            _write_data_set(folder, images)
            for epochs in EPOCHS if images == IMAGES[0] else EPOCHS[:1]:
                for threads in THREADS:
                    found.append(_process(folder, images, epochs, threads))
                    print(found[-1], flush=True)
            for file in folder.iterdir():
                file.unlink()
    return found


def _write_data_set(folder: Path, images: int) -> None:
    """Write MNIST's training images, repeated or cut, and a hundredth of its test images."""
    folder.mkdir()
    mnist = datasets.load()
    arrays = [
        np.resize(mnist.train.images, (images, 28, 28)),
        np.resize(mnist.train.labels, images),
        mnist.test.images[:100],
        mnist.test.labels[:100],
    ]
    for name, array in zip(KEYS, arrays, strict=True):
        idx.write(folder / name, array)


def _process(data: Path, images: int, epochs: int, threads: int) -> Cost:
    command = ["/usr/bin/time", "-f", "%e %M", sys.executable, str(ROOT / "train.py")]
    command += ["--data", str(data), "--runs", f"{data}-runs", "--engine", "native"]
    command += ["--epochs", str(epochs), "--threads", str(threads)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    wall_s, peak_kb = done.stderr.split()[-2:]
    return Cost(images, epochs, threads, float(wall_s), round(float(peak_kb) / 1000, 1))


def measure_accuracy(epochs: int, runs: Path) -> Accuracy:
    """Choose the augmentation for some epochs on held-out images, then measure on the test set."""
    fast, seeds, validation = Recipe(epochs=epochs), SEEDS[epochs], []
    stronger = [
        fast.replacing(**{field: factor * getattr(fast, field) for field in AUGMENTATION})
        for factor in FACTORS
    ]
    for recipe in stronger:
        held_out = trials(recipe.replacing(validation=10_000), seeds, runs=runs)
        validation.append(fmean(trial.accuracy for trial in held_out))
    best = int(np.argmax(validation))
    measured = list(trials(stronger[best], seeds, runs=runs))
    accuracies = [trial.accuracy for trial in measured]
    point = Accuracy(
        epochs=epochs,
        n=seeds,
        train_s=round(fmean(trial.train_s for trial in measured), 2),
        accuracy=round(fmean(accuracies), 6),
        factor=FACTORS[best],
        validation=[round(value, 6) for value in validation],
        spread=[min(accuracies), max(accuracies)],
    )
    print(point, flush=True)
    return point


# ---- drawing


def draw_cost(points: list[dict[str, Any]]) -> str:
    """Draw time and memory against images and epochs, a line for each number of threads."""
    panels = []
    for field, name in (("wall_s", "seconds"), ("peak_mb", "MB")):
        for over, fixed, scale, x_name in (
            ("images", "epochs", 1000, "thousand images, one epoch"),
            ("epochs", "images", 1, "epochs of 6,000 images"),
        ):
            smallest = min(point[fixed] for point in points)
            chosen = [point for point in points if point[fixed] == smallest]
            lines = [
                (
                    f"{threads} thread{'s' if threads > 1 else ''}",
                    [(p[over] / scale, *[p[field]] * 3) for p in chosen if p["threads"] == threads],
                )
                for threads in THREADS
            ]
            x = Axis.over(0, max(p[over] for p in chosen) / scale, 58, 338)
            y = Axis.over(0, max(p[field] for p in chosen), 206, 10)
            panels.append(_chart(x=x, y=y, x_name=x_name, y_name=name, lines=lines))
    return _sheet(panels)


def draw_accuracy(points: list[dict[str, Any]]) -> str:
    """Draw the test accuracy, mean and range, against the seconds of training as ratios."""
    line = [(point["train_s"], point["accuracy"], *point["spread"]) for point in points]
    ticks = [1.5, 3, 6, 12, 25, 60]
    x = LogAxis(ticks if line[-1][0] <= ticks[-1] else [*ticks, 2 * line[-1][0]], 58, 338)
    y = Axis.over(min(p[2] for p in line), max(p[3] for p in line), 206, 10, "%")
    x_name, y_name = "seconds of training", "test accuracy"
    return _sheet([_chart(x=x, y=y, lines=[("", line)], x_name=x_name, y_name=y_name)])


def _chart(**values: object) -> str:
    return environment().from_string(CHART).render(values)


def _sheet(panels: list[str]) -> str:
    """Return one SVG file with the charts in rows of two."""
    across = min(2, len(panels))
    width, height = 360 * across, 250 * math.ceil(len(panels) / across)
    placed = [
        panel.strip().replace(
            "<svg ",
            f'<svg x="{360 * (i % across)}" y="{250 * (i // across)}" width="360" height="250" ',
            1,
        )
        for i, panel in enumerate(panels)
    ]
    size = f'viewBox="0 0 {width} {height}" width="{width}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join([head, STYLE, *placed, "</svg>\n"])


if __name__ == "__main__":
    main()
