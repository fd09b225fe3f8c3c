"""`mnistnet export SOURCE -o DIR`: write a bundle, with its report, card and threshold.

    manifest = export_run(Path("runs/fast-1"), Path("bundle"))
    manifest = export_run(Path("bundle"), Path("again"))      # of the same weights, by new code

The source is a run, or a bundle, which holds the same weights and the same record of their origin.
The same source gives the same bytes in any folder: the report contains no timings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mnistnet import data as datasets
from mnistnet.bundle.manifest import MANIFEST, Manifest, check_files
from mnistnet.data.sets import MNIST_SHA256
from mnistnet.errors import RunError
from mnistnet.extras import import_extra
from mnistnet.metrics.scores import selective_accuracy
from mnistnet.model.architecture import parameter_count
from mnistnet.provenance import export_record, parts
from mnistnet.report.build import Predictions, build
from mnistnet.report.contents import Model, to_json
from mnistnet.training.examples import calibration_split
from mnistnet.training.lifecycle import recover
from mnistnet.training.recipe import RECIPES, recipe_from
from mnistnet.training.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.provenance import Origin, Step
    from mnistnet.report.contents import Report
    from mnistnet.training.recipe import Recipe

# One digit in fifty is left to a person, and with them four of five mistakes.
SURE_SHARE = 0.98
# By the recipe, what the rule gives for a network trained on the first 50,000 images, measured on
# the other 10,000. On images that it was trained on, it is more confident.
CHOSEN_BEFORE = {"fast": 0.65, "release": 0.7}
# What a recipe is called, the draw of a run, and what it ran on: for all of them the same.
NOT_CONTENT = ("name", "seed", "precision", "engine", "device", "threads")
DEFAULT_THRESHOLD = 0.5  # for other recipes


def export_run(source: Path, directory: Path, *, data: Path | None = None) -> Manifest:
    """Write a finished run, or the weights of a bundle, as a bundle.

    Args:
        source: `runs/<name>`, or a bundle.
        directory: of the new bundle; a bundle that lies there is replaced.
        data: the data set that the weights were trained on; None searches the usual places.

    Raises:
        MnistNetError: the run is not finished, the bundle is not whole, the data are others, or
            the directory cannot be written or holds something else.
    """
    import_extra("train", "torch", "onnx", "onnxscript")
    from mnistnet.bundle.export import export
    from mnistnet.model.network import MnistNet
    from mnistnet.training.torch_engine import predict

    if not source.exists():
        recover(source)
    origin = check_files(source).origin if (source / MANIFEST).exists() else Run(source).origin()
    recipe, net = recipe_from(origin.recipe, where=str(source)), MnistNet.load(source)
    dataset = datasets.load(data, validation=recipe.validation)
    if dataset.sha256 != origin.data:
        raise RunError(f"{source}: was trained on other data than {dataset.source}; use --data")
    probabilities = predict(net, dataset.test.images)
    held_out = dataset.test if recipe.validation else calibration_split(recipe, dataset.train)
    threshold = choose_threshold(recipe, predict(net, held_out.images), held_out.labels)
    model = Model(f"MnistNet, recipe {recipe.name}", parameters=parameter_count(), origin=origin)
    split = "validation" if recipe.validation else "test"
    # Other data than MNIST have no name: a bundle's bytes do not depend on where its data lay.
    report = build(Predictions.on(dataset, probabilities, split=split), model, threshold=threshold)
    manifest = Manifest(origin, _metrics(report, split), threshold, export=export_record())
    return export(net, directory, manifest, report=to_json(report), card=_card(manifest, recipe))


def choose_threshold(
    recipe: Recipe, probabilities: NDArray[np.float32], labels: NDArray[np.uint8]
) -> float:
    """Choose the confidence below which `mnistnet predict` says "not sure".

    The highest one that leaves 98 % of the held-out digits sure. The rule uses digits alone; how
    many other pictures it rejects is measured by `benchmarks/threshold.py`.

    Args:
        recipe: of the run.
        probabilities: (N, 10), of images that were held out, for validation or to calibrate on.
        labels: (N,). Where N is 0, the threshold is what was chosen before for such a recipe.
    """
    if not len(labels):
        content = _content(recipe)
        names = (name for name in CHOSEN_BEFORE if _content(RECIPES[name]) == content)
        return CHOSEN_BEFORE.get(next(names, ""), DEFAULT_THRESHOLD)
    (point,) = selective_accuracy(probabilities, labels, (SURE_SHARE,))
    return math.floor(point.threshold * 10_000) / 10_000  # down, so that it leaves 98 % and no less


def _content(recipe: Recipe) -> dict[str, Any]:
    return {key: value for key, value in recipe.as_dict().items() if key not in NOT_CONTENT}


def _metrics(report: Report, split: str) -> dict[str, Any]:
    accuracy = report.accuracy
    return {
        "judged_on": split,
        "n": accuracy.n,
        "correct": accuracy.correct,
        "accuracy": accuracy.value,
        "accuracy_low": round(accuracy.low, 6),
        "accuracy_high": round(accuracy.high, 6),
        "negative_log_likelihood": round(report.negative_log_likelihood, 4),
        "calibration_error": round(report.expected_calibration_error, 4),
    }


def _commit(record: Origin | Step) -> str:
    return f"{record.source['commit']}{' (changed since)' if record.source['dirty'] else ''}"


def _card(manifest: Manifest, recipe: Recipe) -> str:
    """Return the model card: what it is, how good, for what, and where it came from."""
    metrics, commits = manifest.metrics, dict.fromkeys(map(_commit, parts(manifest.origin)))
    source = ", then ".join(commits)  # of a run that was resumed by another
    low, high = (f"{metrics[key] * 100:.2f}" for key in ("accuracy_low", "accuracy_high"))
    if manifest.export and (exported := _commit(manifest.export)) != source:
        source += f", exported by commit {exported}"
    name, trained_on = "the data set", "the data set whose SHA-256 are in `manifest.json`"
    if manifest.origin.data == MNIST_SHA256:
        name, authors = "MNIST", "Yann LeCun, Corinna Cortes; CC BY-SA 3.0"
        trained_on = f"MNIST's {60_000 - recipe.validation:,} training images ({authors})"
    return f"""# MnistNet, recipe `{recipe.name}`

A convolutional network of 20,826 parameters that reads one handwritten digit from a picture.

- **Accuracy** on {name}'s {metrics["judged_on"]} images: {metrics["accuracy"]:.2%} of \
{metrics["n"]:,} (95 % interval {low}–{high}). Expected calibration error: \
{metrics["calibration_error"]}.
- **For**: single digits 0–9, ink dark on light or light on dark, photographed, scanned or drawn.
- **Not for**: several digits at once, letters (it will take them for digits), or decisions about
  people without a person's check.
- **Not sure**: below a confidence of {manifest.threshold:.0%} an answer should be checked by a \
person.
- **Trained on**: {trained_on}, nothing else.
- **Source**: commit {source}; the recipe, data hashes, versions and processor are in \
`manifest.json`.

How to use it: `docs/BUNDLE.md` of the project, or `pip install mnistnet`.
"""
