"""Carry out a recipe on a training set, with whichever engine: `fit(recipe, data.train, engine)`.

The whole set lies in memory, with what the recipe draws (examples.py). Where the recipe asks for
teachers, those are trained first, one after the other, and the last network is trained on the soft
targets of their ensemble. Epochs are counted over all networks, and every random number of an epoch
comes from (seed, epoch), so that a run that is resumed after an epoch ends with the same bits.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.errors import RecipeError, TrainingError
from mnistnet.metrics.scores import best_temperature
from mnistnet.model.architecture import layers
from mnistnet.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnistnet.training.draws import draw, generator_for
from mnistnet.training.engine import Chunk
from mnistnet.training.examples import calibration_split, examples_of
from mnistnet.training.runs import Measurement
from mnistnet.training.state import initial_state, prepare_optimiser, views, weights_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.data import Split
    from mnistnet.training.engine import Engine
    from mnistnet.training.examples import Examples
    from mnistnet.training.recipe import Recipe
    from mnistnet.training.state import State

REPORT_EVERY = 100  # batches, as in the course; so many are an engine's chunk


@dataclass(frozen=True)
class Progress:
    """Where a run stands. Loss and accuracy are running means over the epoch so far."""

    networks: int  # the teachers and the one distilled from them; 1 without teachers
    epoch: int  # from 1, over all networks
    epochs: int
    batch: int  # of this epoch, from 1
    batches: int
    batch_size: int
    loss: float
    # A fraction of the augmented training images that show a digit, in training mode; for a
    # distilled network how often it agrees with the ensemble on them.
    accuracy: float
    images_per_s: float  # over the epoch so far

    @property
    def network(self) -> int:
        """Which network is being trained, from 1."""
        return 1 + (self.epoch - 1) * self.networks // self.epochs

    @property
    def fraction(self) -> float:
        """How much of the whole run is done, 0–1."""
        return (self.epoch - 1 + self.batch / self.batches) / self.epochs

    @property
    def images(self) -> int:
        """How many images were trained on so far, over all epochs."""
        return ((self.epoch - 1) * self.batches + self.batch) * self.batch_size

    def measurement(self) -> Measurement:
        """Return a line of a run's metrics; without the speed, so that runs repeat to the byte."""
        return Measurement(
            network=self.network,
            epoch=self.epoch,
            batch=self.batch,
            batches=self.batches,
            images=self.images,
            loss=round(self.loss, 6),
            accuracy=round(self.accuracy, 6),
        )


def fit(
    recipe: Recipe,
    train: Split,
    engine: Engine,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> State:
    """Train a network.

    Args:
        recipe: every hyperparameter.
        train: the images to train on; what the recipe draws is added to them.
        engine: what computes, see `engine_for`.
        on_progress: called every 100 batches and at each epoch's end.
        checkpoint: a file to write after each epoch but the last, and to continue from.

    Returns:
        The network that was trained last, calibrated if the recipe asks for it.

    Raises:
        RecipeError: the batch is larger than the set, or all of it is held out to calibrate on.
        RunError: the checkpoint is damaged or belongs to another recipe.
        TrainingError: the loss became infinite or not a number.
        FileError: the checkpoint cannot be written.
    """
    job = _Job(recipe, examples_of(recipe, train), engine, on_progress)
    begun = load_checkpoint(checkpoint, recipe) if checkpoint else None
    begun = begun or Checkpoint(job.new_network(0), np.empty((0, weights_size()), np.float32), 0)
    state, teachers = begun.state, begun.teachers
    for epoch in range(begun.epochs_done + 1, recipe.epochs_in_all + 1):
        if epoch > 1 and (epoch - 1) % recipe.epochs == 0:  # another network's first
            teachers = np.concatenate([teachers, state.weights[None]])
            state = job.new_network(epoch - 1)
        distilled = len(teachers) == recipe.teachers
        _run_epoch(job, epoch, state, teachers if distilled else teachers[:0])
        if checkpoint and epoch < recipe.epochs_in_all:
            save_checkpoint(checkpoint, recipe, Checkpoint(state, teachers, epoch))
    if recipe.calibration:
        _calibrate(state, calibration_split(recipe, train), engine)
    return state


@dataclass(frozen=True)
class _Job:
    """What is the same for every network of a run."""

    recipe: Recipe
    examples: Examples
    engine: Engine
    on_progress: Callable[[Progress], None]

    def __post_init__(self) -> None:
        """Raise RecipeError where there is no whole batch."""
        if not self.batches:
            raise RecipeError(
                f"batch_size is {self.recipe.batch_size}, but there are only {len(self.examples)}"
                " training images; lower it"
            )

    def new_network(self, epoch: int) -> State:
        """Return the initial state of the network that is begun after so many epochs."""
        return initial_state(self.examples.images, seed=self.recipe.seed, epoch=epoch)

    @property
    def batches(self) -> int:
        """Whole batches in an epoch; which images are left over differs from epoch to epoch."""
        return len(self.examples) // self.recipe.batch_size


def _run_epoch(job: _Job, epoch: int, state: State, teachers: NDArray[np.float32]) -> None:
    """Take a step with each of an epoch's batches, and report progress."""
    recipe = job.recipe
    started, losses, correct, classified = time.perf_counter(), [], 0, 0
    for chunk in _chunks(job, epoch, teachers):
        if not state.steps:
            prepare_optimiser(state, job.engine.gradients(state, chunk))
        trained = job.engine.train(state, chunk)
        losses += trained.losses
        correct += sum(trained.correct)
        classified += int(chunk.has_class.sum())
        if not math.isfinite(sum(losses)):
            batch = next(i for i, loss in enumerate(losses, start=1) if not math.isfinite(loss))
            raise TrainingError(
                f"the loss is {losses[batch - 1]} in epoch {epoch}, batch {batch}:"
                " training diverged; lower the learning rate"
            )
        seen = len(losses) * recipe.batch_size
        progress = Progress(
            networks=recipe.teachers + 1,
            epoch=epoch,
            epochs=recipe.epochs_in_all,
            batch=len(losses),
            batches=job.batches,
            batch_size=recipe.batch_size,
            loss=sum(losses) / len(losses),
            accuracy=correct / max(1, classified),
            images_per_s=seen / (time.perf_counter() - started),
        )
        job.on_progress(progress)


def _chunks(job: _Job, epoch: int, teachers: NDArray[np.float32]) -> Iterator[Chunk]:
    """Yield an epoch's batches, many at once, in an order that only (seed, epoch) decides."""
    recipe, examples = job.recipe, job.examples
    generator = generator_for(recipe.seed, epoch)
    order = generator.permutation(len(examples))
    for first in range(0, job.batches, REPORT_EVERY):
        batches = np.arange(first, min(first + REPORT_EVERY, job.batches))
        chosen = order[first * recipe.batch_size : (batches[-1] + 1) * recipe.batch_size]
        done = ((epoch - 1) % recipe.epochs + batches / job.batches) / recipe.epochs
        yield Chunk(
            recipe=recipe,
            images=examples.images[chosen],
            targets=examples.targets[chosen],
            draws=draw(recipe, generator, len(chosen)),
            rates=learning_rate(recipe, done).astype(np.float32),
            teachers=teachers,
        )


def _calibrate(state: State, held_out: Split, engine: Engine) -> None:
    """Divide the classifier's weights by the temperature that suits held-out images best.

    So the network's own probabilities are calibrated (Guo et al. 2017, "On Calibration of Modern
    Neural Networks"), and whoever loads the weights need not know of a temperature.
    """
    probabilities = engine.probabilities(state.weights, held_out.images)
    temperature = best_temperature(probabilities, held_out.labels)
    parts, last = views(state.values), layers()[-1].name
    for part in ("weight", "bias"):
        parts[f"{last}.{part}"] /= np.float32(temperature)


def learning_rate(recipe: Recipe, done: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the learning rates: linear warm-up from 0, then linear decay to 0.

    Args:
        recipe: the highest rate and the warm-up's length.
        done: the fractions of the network's steps that are done, 0–1.
    """
    rising = done / recipe.warmup if recipe.warmup else np.ones_like(done)
    falling = (1 - done) / (1 - recipe.warmup) if recipe.warmup < 1 else np.ones_like(done)
    return recipe.learning_rate * np.minimum(rising, falling)


def first_batch(
    recipe: Recipe, train: Split, engine: Engine
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the first batch that a run of this recipe is trained on: images and what they show."""
    job, n = _Job(recipe, examples_of(recipe, train), engine, lambda _: None), recipe.batch_size
    chunk = next(_chunks(job, 1, np.empty((0, weights_size()), np.float32)))
    images = engine.augment(chunk.images[:n], chunk.draws.part(0, n))
    shown = zip(chunk.has_class[:n], chunk.targets[:n].argmax(1), strict=True)
    return images, [str(digit) if has_class else "no digit" for has_class, digit in shown]
