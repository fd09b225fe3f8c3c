"""`mnistnet export RUN -o DIR`: from a run to a bundle that is whole.

The same run exports to the same bytes from any folder: the report holds no timings, and all else
is the run's own record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet import data as datasets
from mnistnet.bundle.threshold import choose_threshold
from mnistnet.errors import RunError
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.metrics.scores import expected_calibration_error, negative_log_likelihood
from mnistnet.report.build import Predictions, build
from mnistnet.report.contents import Model, to_json
from mnistnet.training.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.provenance import Origin


def export_run(run_folder: Path, directory: Path, *, data: Path | None = None) -> Manifest:
    """Write a finished run as a bundle.

    Args:
        run_folder: `runs/<name>`.
        directory: where the bundle goes; a bundle that lies there is replaced.
        data: the data set that the run was trained on; None searches the usual places.

    Raises:
        MnistNetError: the run is not finished, the data are not the run's, or the directory
            cannot be written or holds something else.
    """
    from mnistnet.bundle.export import export
    from mnistnet.model.network import MnistNet, parameter_count
    from mnistnet.training.prediction import predict

    run = Run(run_folder)
    origin = run.origin()
    net = MnistNet.load(run_folder)
    dataset = datasets.load(data, validation=run.recipe().validation)
    if dataset.sha256 != origin.data:
        raise RunError(f"{run_folder}: was trained on other data than {dataset.source}; use --data")
    probabilities, labels = predict(net, dataset.test.images), dataset.test.labels
    judged_on = "validation" if run.recipe().validation else "test"
    threshold = choose_threshold(run.recipe(), probabilities, labels)
    metrics = _metrics(probabilities, labels, judged_on)
    name = f"MnistNet, recipe {run.recipe().name}"
    model = Model(name, parameters=parameter_count(net), origin=origin)
    # Other data than MNIST have no name: a bundle's bytes do not depend on where its data lay.
    predictions = Predictions.on(dataset, probabilities, split=judged_on)
    report = build(predictions, model, threshold=threshold)
    return export(
        net,
        directory,
        origin=origin,
        metrics=metrics,
        report=to_json(report),
        card=_card(metrics, origin, threshold),
        threshold=threshold,
    )


def _metrics(
    probabilities: NDArray[np.float32], labels: NDArray[np.uint8], judged_on: str
) -> dict[str, Any]:
    correct, n = int((probabilities.argmax(1) == labels).sum()), len(labels)
    low, high = wilson_interval(correct, n)
    return {
        "judged_on": judged_on,
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "accuracy_low": round(low, 6),
        "accuracy_high": round(high, 6),
        "negative_log_likelihood": round(negative_log_likelihood(probabilities, labels), 4),
        "calibration_error": round(expected_calibration_error(probabilities, labels), 4),
    }


def _card(metrics: dict[str, Any], origin: Origin, threshold: float) -> str:
    """Write the model card: what it is, how good, for what, and where it came from."""
    low, high = (f"{metrics[key] * 100:.2f}" for key in ("accuracy_low", "accuracy_high"))
    source = str(origin.source["commit"]) + (" (changed since)" if origin.source["dirty"] else "")
    return f"""# MnistNet, recipe `{origin.recipe["name"]}`

A convolutional network of 20,826 parameters that reads one handwritten digit from a picture.

- **Accuracy** on MNIST's {metrics["judged_on"]} images: {metrics["accuracy"]:.2%} of \
{metrics["n"]:,} (95 % interval {low}–{high}). Expected calibration error: \
{metrics["calibration_error"]}.
- **For**: single digits 0–9, ink dark on light or light on dark, photographed, scanned or drawn.
- **Not for**: several digits at once, letters (it will take them for digits), or decisions about
  people without a person's check.
- **Not sure**: below a confidence of {threshold:.0%} an answer should be checked by a person.
- **Trained on**: MNIST's 60,000 training images (Yann LeCun, Corinna Cortes; CC BY-SA 3.0), \
nothing else.
- **Source**: commit {source}; the recipe, data hashes, versions and processor are in \
`manifest.json`.

How to use it: `docs/BUNDLE.md` of the project, or `pip install mnistnet`.
"""
