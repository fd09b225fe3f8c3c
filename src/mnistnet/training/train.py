"""`mnistnet train`: from the data to a run's folder.

result = train(recipe_named("fast"))
result.accuracy, result.run.folder
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet import data as datasets
from mnistnet.errors import Interrupted
from mnistnet.files import write_bytes, write_json
from mnistnet.metrics.scores import confusion_matrix, worst_mistakes
from mnistnet.provenance import origin_of
from mnistnet.training.runs import Run, check_name, new_run, unfinished_run
from mnistnet.training.tracking import NOBODY

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.data import DataSet, Pending
    from mnistnet.model.network import MnistNet
    from mnistnet.training.loop import Progress
    from mnistnet.training.recipe import Recipe
    from mnistnet.training.tracking import Trackers

Export = Callable[..., object]  # (run's folder, bundle's folder, data=)


@dataclass(frozen=True)
class TrainResult:
    """A finished run: where it is, and what the network reads right."""

    run: Run
    recipe: Recipe
    correct: int
    judged: int  # images of the test set, or of the validation split
    images_per_s: float  # while training
    phases_s: dict[str, float]  # wall time of data, training, evaluation and pictures

    @property
    def accuracy(self) -> float:
        """The fraction read right."""
        return self.correct / self.judged

    @property
    def judged_on(self) -> str:
        """`validation` where images were held out, else `test`."""
        return "validation" if self.recipe.validation else "test"


def train(
    recipe: Recipe,
    *,
    data: Path | Pending | None = None,
    runs: Path = Path("runs"),
    name: str | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    trackers: Trackers = NOBODY,
    export: Export | None = None,
) -> TrainResult:
    """Train a network and write its run.

    Args:
        recipe: what to do.
        data: a data set's folder or file, or what `data.loading` gives; None searches the usual
            places.
        runs: the folder of all runs.
        name: of the run; None gives it a fresh one.
        overwrite: replace a run of that name.
        on_progress: is told every 100 batches and at each epoch's end.
        trackers: where else the run is reported, see `open_trackers`.
        export: writes a run's folder as a bundle, for trackers that store one; takes the run's
            folder, the bundle's and the data set's.

    Raises:
        MnistNetError: of the data, the recipe, the run's folder or the training, see each.
    """
    clock = _Clock()
    if name:
        check_name(name)  # before anything is loaded, or downloaded
    dataset = datasets.load(data, validation=recipe.validation)
    with new_run(runs, name, recipe, overwrite=overwrite) as run:
        return _tracked(run, recipe, dataset, clock, on_progress, trackers, export)


def resume(
    *,
    name: str,
    data: Path | Pending | None = None,
    runs: Path = Path("runs"),
    on_progress: Callable[[Progress], None] = lambda _: None,
    trackers: Trackers = NOBODY,
    export: Export | None = None,
) -> TrainResult:
    """Go on with an interrupted run after its last whole epoch, to the same bits.

    Raises:
        RunError: there is no such run, it is complete, or its checkpoint does not fit.
    """
    clock = _Clock()
    run = unfinished_run(runs, name)
    recipe = run.recipe()
    dataset = datasets.load(data, validation=recipe.validation)
    return _tracked(run, recipe, dataset, clock, on_progress, trackers, export)


def as_line(progress: Progress, recipe: Recipe) -> dict[str, Any]:
    """Give a line of a run's metrics; the speed is not of it, so that runs repeat to the byte."""
    images = ((progress.epoch - 1) * progress.batches + progress.batch) * recipe.batch_size
    return {
        "network": progress.network,
        "epoch": progress.epoch,
        "batch": progress.batch,
        "batches": progress.batches,
        "images": images,
        "loss": round(progress.loss, 6),
        "accuracy": round(progress.accuracy, 6),
    }


def _tracked(
    run: Run,
    recipe: Recipe,
    dataset: DataSet,
    clock: _Clock,
    on_progress: Callable[[Progress], None],
    trackers: Trackers,
    export: Export | None,
) -> TrainResult:
    """Carry out a run under the eyes of the trackers, and give them what it holds."""
    folder = run.folder
    with trackers.following(folder.name, folder, recipe):
        for line in run.metrics():  # what was measured before a run was interrupted
            trackers.measure(line)
        result = _carry_out(run, recipe, dataset, clock, on_progress, trackers)
        if trackers:
            trackers.finish(
                {f"{result.judged_on}/accuracy": result.accuracy},
                pictures=sorted(folder.glob("*.png")),
                export=export and partial(export, folder, data=Path(dataset.source)),
            )
            clock.lap("tracking")
    return result


def _carry_out(
    run: Run,
    recipe: Recipe,
    dataset: DataSet,
    clock: _Clock,
    on_progress: Callable[[Progress], None],
    trackers: Trackers,
) -> TrainResult:
    from safetensors.torch import save

    from mnistnet.training.hardware import describe, resolve
    from mnistnet.training.prediction import predict

    clock.lap("data")
    origin = origin_of(recipe.as_dict(), dataset.sha256, describe(recipe))
    write_json(run.origin_file, asdict(origin))
    net = _fit(run, recipe, dataset, on_progress, trackers)
    clock.lap("training")
    probabilities = predict(net, dataset.test.images, resolve(recipe))
    correct = int((probabilities.argmax(1) == dataset.test.labels).sum())
    clock.lap("evaluation")
    result = TrainResult(
        run=run,
        recipe=recipe,
        correct=correct,
        judged=len(dataset.test),
        images_per_s=recipe.epochs_in_all * len(dataset.train) / clock.phases_s["training"],
        phases_s=clock.phases_s,
    )
    run.log({"judged_on": result.judged_on, "correct": correct, "of": result.judged})
    _draw(result, dataset, probabilities)
    clock.lap("pictures")
    write_bytes(run.weights_file, save(net.state_dict()))  # last: it makes the run complete
    run.checkpoint_file.unlink(missing_ok=True)
    return result


def _fit(
    run: Run,
    recipe: Recipe,
    dataset: DataSet,
    on_progress: Callable[[Progress], None],
    trackers: Trackers,
) -> MnistNet:
    """Train, logging to the run; turn Ctrl-C into a word on how to go on."""
    from mnistnet.training.loop import fit

    last: Progress | None = None

    def note(progress: Progress) -> None:
        nonlocal last
        last = progress
        line = as_line(progress, recipe)
        run.log(line)
        on_progress(progress)
        trackers.measure(line, images_per_s=progress.images_per_s)

    try:
        return fit(recipe, dataset.train, on_progress=note, checkpoint=run.checkpoint_file)
    except KeyboardInterrupt:
        if last is None:
            raise
        raise Interrupted(_farewell(run, last)) from None


def _farewell(run: Run, last: Progress) -> str:
    reached = (
        f"interrupted in epoch {last.epoch} of {last.epochs}, after batch {last.batch} of"
        f" {last.batches}: loss {last.loss:.4f}, accuracy {last.accuracy:.2%};"
        f" what was measured is in {run.folder}"
    )
    if not run.checkpoint_file.exists():
        return reached
    return f"{reached}; go on with: mnistnet train --name {run.folder.name} --resume"


def _draw(result: TrainResult, dataset: DataSet, probabilities: NDArray[np.float32]) -> None:
    from mnistnet.training import plots
    from mnistnet.training.loop import first_batch

    folder, test = result.run.folder, dataset.test
    plots.draw_batch(folder / "batch.png", *first_batch(result.recipe, dataset.train))
    read = f"{result.accuracy:.2%} of {result.judged:,} {result.judged_on} images"
    plots.draw_curves(folder / "curves.png", result.run.metrics(), f"{result.recipe.name}: {read}")
    matrix = confusion_matrix(test.labels, probabilities.argmax(1))
    plots.draw_confusion(folder / "confusion.png", matrix)
    worst = worst_mistakes(probabilities, test.labels, 32)
    plots.draw_mistakes(folder / "mistakes.png", test.images, test.labels, probabilities, worst)


@dataclass
class _Clock:
    """Wall time, split into phases."""

    phases_s: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """Book the time since the last lap on a phase."""
        now = time.perf_counter()
        self.phases_s[phase] = now - self._last
        self._last = now
