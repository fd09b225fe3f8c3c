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
from mnistnet.bundle.documents import metrics_of
from mnistnet.bundle.manifest import MANIFEST, Manifest, check_files
from mnistnet.errors import RunError
from mnistnet.extras import import_extra
from mnistnet.metrics.scores import selective_accuracy
from mnistnet.model.architecture import parameter_count
from mnistnet.provenance import export_record
from mnistnet.report.build import Predictions, build
from mnistnet.report.contents import Model, as_document, to_json
from mnistnet.training.examples import calibration_split
from mnistnet.training.lifecycle import recover
from mnistnet.training.recipe import RECIPES, recipe_from
from mnistnet.training.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.training.recipe import Recipe

# One digit in fifty is left to a person, and with them four of five mistakes.
SURE_SHARE = 0.98
# By the recipe, what the rule gives for a network trained on the first 50,000 images, measured on
# the other 10,000. On images that it was trained on, it is more confident.
CHOSEN_BEFORE = {"fast": 0.65}
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
    metrics = metrics_of(as_document(report), source, split)
    manifest = Manifest(origin, metrics, threshold, export=export_record())
    return export(net, directory, manifest, report=to_json(report))


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
