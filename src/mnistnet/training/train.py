"""Train a network: from a data set to a run's folder.

result = train(recipe_named("fast"))
result.accuracy, result.run.folder
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet import data as datasets
from mnistnet.errors import FileError, Interrupted, RunError
from mnistnet.files import write_bytes, write_json
from mnistnet.provenance import differences, origin_of, training_program
from mnistnet.training.examples import count_examples
from mnistnet.training.fit import first_batch, fit
from mnistnet.training.illustrations import illustrate
from mnistnet.training.lifecycle import check_name, new_run, resumed_run
from mnistnet.training.machine import engine_for
from mnistnet.training.runs import Result, Run
from mnistnet.training.tracking import NO_TRACKERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.data import DataSet, Pending
    from mnistnet.provenance import Origin, Program
    from mnistnet.training.engine import Engine
    from mnistnet.training.fit import Progress
    from mnistnet.training.recipe import Recipe
    from mnistnet.training.state import State
    from mnistnet.training.tracking import Trackers

LOG = logging.getLogger(__name__)
OnEngine = Callable[["Engine"], None]
OnProgress = Callable[["Progress"], None]


@dataclass(frozen=True)
class TrainResult:
    """A finished run and its accuracy."""

    run: Run
    recipe: Recipe
    correct: int
    n: int  # images of the test set, or of the validation split
    images_per_s: float  # while training
    phases_s: dict[str, float]  # wall time of data, training, evaluation and pictures

    @property
    def accuracy(self) -> float:
        """The fraction of images classified correctly."""
        return self.correct / self.n

    @property
    def evaluated_on(self) -> str:
        """`validation` where images were held out, else `test`."""
        return self.recipe.evaluated_on


def train(
    recipe: Recipe,
    *,
    data: Path | Pending | None = None,
    runs: Path = Path("runs"),
    name: str | None = None,
    overwrite: bool = False,
    on_engine: OnEngine = lambda _: None,
    on_progress: OnProgress = lambda _: None,
    trackers: Trackers = NO_TRACKERS,
) -> TrainResult:
    """Train a network and write its run.

    Args:
        recipe: every hyperparameter.
        data: a data set's folder or file, or a `Pending` one; None: the first that is
            found in the usual places.
        runs: the folder of all runs.
        name: of the run; None: the recipe's name and the next free number.
        overwrite: replace a run of that name.
        on_engine: called once, with what computes.
        on_progress: called every 100 batches and at each epoch's end.
        trackers: where else the run is tracked, see `open_trackers`.

    Raises:
        MnistNetError: see data.load, engine_for, new_run and fit.
    """
    clock = _Clock()
    if name is not None:
        check_name(name)  # before anything is loaded or downloaded
    on_engine(engine := engine_for(recipe))
    program = training_program()  # while the data set is being read, if it is `Pending`
    dataset = datasets.load(data, validation=recipe.validation)
    with new_run(runs, name, recipe, overwrite=overwrite) as run:
        job = _Job(run, recipe, engine, program, dataset, on_progress, trackers, clock)
        result = _carry_out(job)
    return replace(result, run=Run(runs / run.name))


def resume(
    *,
    name: str,
    data: Path | Pending | None = None,
    runs: Path = Path("runs"),
    on_engine: OnEngine = lambda _: None,
    on_progress: OnProgress = lambda _: None,
    trackers: Trackers = NO_TRACKERS,
) -> TrainResult:
    """Resume an interrupted run after its last whole epoch; the weights are the same to the bit.

    Raises:
        RunError: there is no such run, it is complete, it was begun on other data or with another
            engine than there is here, or its checkpoint does not fit.
        RecipeError: the engine that it was begun with is not here.
    """
    clock = _Clock()
    with resumed_run(runs, name) as run:
        recipe = run.recipe()
        on_engine(engine := _engine_of(run, recipe))
        program = training_program()
        dataset = datasets.load(data, validation=recipe.validation)
        _check_same_data(run, dataset)
        job = _Job(run, recipe, engine, program, dataset, on_progress, trackers, clock)
        result = _carry_out(job)
    return replace(result, run=Run(runs / run.name))


def _engine_of(run: Run, recipe: Recipe) -> Engine:
    """Return the engine that a run was begun with. Raises RunError: it cannot be had here."""
    if not run.origin_file.exists():
        return engine_for(recipe)
    begun = run.recorded_origin().environment
    pinned = {name: begun.get(name) for name in ("device", "engine", "precision", "threads")}
    instruction_set = str(begun.get("instruction_set"))
    engine = engine_for(recipe.replacing(**pinned), instruction_set=instruction_set)
    here = asdict(engine.environment)
    if changed := [name for name in here if here[name] != begun.get(name)]:
        raise RunError(
            f"{run.folder}: was begun with another {', '.join(changed)} than there is here;"
            " resume it where it was begun, or train it again with --overwrite"
        )
    return engine


def _check_same_data(run: Run, dataset: DataSet) -> None:
    if run.origin_file.exists() and run.recorded_origin().data != dataset.sha256:
        raise RunError(
            f"{run.folder}: was begun on other data than {dataset.source}; name that with --data"
        )


@dataclass
class _Clock:
    """Wall time, split into phases."""

    phases_s: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """Record the time since the last lap as a phase."""
        now = time.perf_counter()
        self.phases_s[phase] = now - self._last
        self._last = now


@dataclass(frozen=True)
class _Job:
    """A run to carry out, and who follows it."""

    run: Run
    recipe: Recipe
    engine: Engine
    program: Program
    dataset: DataSet
    on_progress: OnProgress
    trackers: Trackers
    clock: _Clock


def _carry_out(job: _Job) -> TrainResult:
    """Carry out a run. An error names the run where --resume goes on with it."""
    run = job.run
    try:
        return _steps(job)
    except KeyboardInterrupt:
        raise _interrupted(run, job.recipe) from None
    except FileError as error:  # the disk is full, for example
        if run.checkpoint_file.exists():
            error.run = run.name
        raise


def _steps(job: _Job) -> TrainResult:
    """Train, evaluate, illustrate, and save the weights, which make the run complete."""
    from safetensors.numpy import save

    run, recipe, dataset, clock = job.run, job.recipe, job.dataset, job.clock
    with job.trackers.tracking(run.name, run.folder, recipe):
        for line in run.metrics():  # of a resumed run: those before it was interrupted
            job.trackers.log_line(line)
        clock.lap("data")
        origin = _origin(job)
        write_json(run.origin_file, origin.as_document())
        state = _fit(job)
        clock.lap("training")
        probabilities = job.engine.probabilities(state.weights, dataset.test.images)
        result = _result(job, probabilities)
        run.log(Result(result.evaluated_on, result.correct, result.n))
        clock.lap("evaluation")
        illustrate(
            run, dataset, probabilities, origin, first_batch(recipe, dataset.train, job.engine)
        )
        clock.lap("pictures")
        write_bytes(run.weights_file, save(state.tensors()))
        run.checkpoint_file.unlink(missing_ok=True)
        if job.trackers:
            metrics = {f"{result.evaluated_on}/accuracy": result.accuracy}
            job.trackers.log_result(metrics, run=run.folder, data=Path(dataset.source))
            clock.lap("tracking")
    return result


def _origin(job: _Job) -> Origin:
    """Record what the run depends on; of a resumed one, also what trained it until now."""
    run, recipe, environment = job.run, job.recipe.as_dict(), asdict(job.engine.environment)
    if not run.checkpoint_file.exists():
        return origin_of(job.program, recipe, job.dataset.sha256, environment)
    before = run.recorded_origin()
    origin = origin_of(job.program, recipe, job.dataset.sha256, environment, before=before)
    if lines := differences(before, origin):
        LOG.warning("%s: is resumed with something else: %s", run.folder, "; ".join(lines))
    return origin


def _fit(job: _Job) -> State:
    """Train, logging to the run."""

    def report(progress: Progress) -> None:
        job.run.log(progress.measurement())
        job.on_progress(progress)
        job.trackers.log_line(progress.measurement(), images_per_s=progress.images_per_s)

    return fit(
        job.recipe,
        job.dataset.train,
        job.engine,
        on_progress=report,
        checkpoint=job.run.checkpoint_file,
    )


def _interrupted(run: Run, recipe: Recipe) -> Interrupted:
    """Make the error after Ctrl-C: how far the run came, and whether it can be resumed."""
    if run.weights_file.exists():
        return Interrupted(f"interrupted; the run {run.name} is complete")
    if not run.metrics_file.exists():
        return Interrupted("interrupted before anything was measured, so no run is kept")
    where = ""
    if lines := run.metrics():
        last = lines[-1]
        where = (
            f" in epoch {last.epoch} of {recipe.epochs_in_all}, after batch {last.batch} of"
            f" {last.batches}: loss {last.loss:.4f}, accuracy {last.accuracy:.2%}"
        )
    kept = f"what was measured is in {run.folder}"
    if not run.checkpoint_file.exists():
        kept += "; no epoch was complete, so it starts again"
    error = Interrupted(f"interrupted{where}; {kept}")
    error.run = run.name
    return error


def _result(job: _Job, probabilities: NDArray[np.float32]) -> TrainResult:
    images = job.recipe.epochs_in_all * count_examples(job.recipe, len(job.dataset.train))
    correct = int((probabilities.argmax(1) == job.dataset.test.labels).sum())
    return TrainResult(
        run=job.run,
        recipe=job.recipe,
        correct=correct,
        n=len(job.dataset.test),
        images_per_s=images / job.clock.phases_s["training"],
        phases_s=job.clock.phases_s,
    )
