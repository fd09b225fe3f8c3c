"""Carry out a recipe on a training set.

    net = fit(recipe_named("fast"), data.train, on_progress=print)

The whole set lies in memory, pictures are augmented many at a time, and each thread takes its
share of every batch. Where the recipe asks for teachers, those are trained first, one after the
other, and the last network is trained on the soft targets of their ensemble. Epochs are counted
over all networks, and every random number of an epoch comes from (seed, epoch), so that a run
resumed after an epoch ends with the same bits.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mnistnet.errors import RecipeError, TrainingError
from mnistnet.model.network import MnistNet
from mnistnet.training.augmentation import augment
from mnistnet.training.checkpoint import (
    epochs_done,
    load_checkpoint,
    load_teachers,
    save_checkpoint,
)
from mnistnet.training.compiled import compiled_step
from mnistnet.training.distillation import Ensemble, smooth_labels
from mnistnet.training.hardware import resolve
from mnistnet.training.initial import whiten_first_layer
from mnistnet.training.optimiser import Soap, learning_rate
from mnistnet.training.replicas import Replicas, replicating
from mnistnet.training.runs import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from mnistnet.data import Split
    from mnistnet.training.hardware import Hardware
    from mnistnet.training.recipe import Recipe

REPORT_EVERY = 100  # batches, as in the course
AUGMENT_BATCHES = 20  # augmented at once, so that all threads have enough to do
AUGMENT_PART = 640  # images a call: few enough for the cache, many enough for torch


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
    # A fraction, of the augmented training images, in training mode; for a distilled network how
    # often it agrees with the ensemble.
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
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> MnistNet:
    """Train a network.

    Args:
        recipe: every hyperparameter.
        train: all images to train on, without those held out for validation.
        on_progress: called every 100 batches and at each epoch's end.
        checkpoint: a file to write after each epoch but the last; training continues from one
            that exists.

    Returns:
        The network that was trained last, on the CPU, in evaluation mode.

    Raises:
        RecipeError: the batch is larger than the data, or the device is not there.
        TrainingError: the loss became infinite or not a number.
        FileError: the checkpoint cannot be written.
    """
    if recipe.batch_size > len(train):
        raise RecipeError(
            f"batch_size is {recipe.batch_size}, but there are only {len(train)} training images;"
            " lower it"
        )
    hardware = resolve(recipe)
    images = torch.tensor(train.images, device=hardware.device)
    labels = torch.tensor(train.labels, device=hardware.device).long()
    job = _Job(recipe, hardware, images, labels, on_progress, checkpoint)
    networks = load_teachers(checkpoint, recipe) if checkpoint else []
    while len(networks) <= recipe.teachers:
        networks.append(_train_one(job, networks))
    return networks[-1]


@dataclass(frozen=True)
class _Job:
    """What is the same for every network of a run."""

    recipe: Recipe
    hardware: Hardware
    images: Tensor  # uint8 (N, 28, 28)
    labels: Tensor  # int64 (N,)
    on_progress: Callable[[Progress], None]
    checkpoint: Path | None

    @property
    def batches(self) -> int:
        """Whole batches in an epoch; which images are left over differs from epoch to epoch."""
        return len(self.images) // self.recipe.batch_size


def _train_one(job: _Job, teachers: list[MnistNet]) -> MnistNet:
    """Train the next teacher or, with all teachers there, the network distilled from them."""
    recipe, hardware, checkpoint = job.recipe, job.hardware, job.checkpoint
    first, last = len(teachers) * recipe.epochs + 1, (len(teachers) + 1) * recipe.epochs
    torch.manual_seed(_epoch_seed(recipe, first - 1))
    net = MnistNet(recipe.dropout)
    whiten_first_layer(net, job.images)
    if hardware.engine == "torch":
        net = _in_memory_format(net.to(hardware.device), torch.channels_last)
    compiled = compiled_step(hardware.precision) if hardware.engine == "compiled" else None
    optimiser = Soap(net, recipe, compiled)
    if checkpoint and first <= epochs_done(checkpoint):
        first = load_checkpoint(checkpoint, recipe, net, optimiser) + 1
    distilled = teachers and len(teachers) == recipe.teachers
    ensemble = Ensemble(teachers, hardware, recipe.temperature) if distilled else None
    with replicating(net, hardware) as replicas:
        for epoch in range(first, last + 1):
            batches = _batches(job, epoch, ensemble, replicas.pool)
            _run_epoch(job, epoch, batches, replicas, optimiser)
            replicas.average_statistics()
            if checkpoint and epoch < recipe.epochs_in_all:
                save_checkpoint(
                    checkpoint, recipe, net, optimiser, teachers=teachers, epochs_done=epoch
                )
    return _in_memory_format(net.to("cpu"), torch.contiguous_format).eval()


def _in_memory_format(net: MnistNet, memory_format: torch.memory_format) -> MnistNet:
    """Convert a network's weights; torch's convolutions run faster channels-last on a processor."""
    net.to(memory_format=memory_format)  # type: ignore[call-overload]  # missing from torch's stub
    return net


def _run_epoch(
    job: _Job,
    epoch: int,
    batches: Iterator[tuple[Tensor, Tensor]],
    replicas: Replicas,
    optimiser: Soap,
) -> None:
    """Take a step with each of an epoch's batches, and report progress."""
    recipe = job.recipe
    torch.manual_seed(_epoch_seed(recipe, epoch))
    started, loss_sum, correct = time.perf_counter(), 0.0, 0
    for batch, (images, targets) in enumerate(batches, start=1):
        share = replicas.gradients(images, targets)
        done = ((epoch - 1) % recipe.epochs + (batch - 1) / job.batches) / recipe.epochs
        optimiser.step(learning_rate(recipe, done=done), replicas.pool)
        loss_sum += share.loss
        correct += share.correct
        if batch % REPORT_EVERY and batch < job.batches:
            continue
        seen = batch * recipe.batch_size
        if not math.isfinite(loss_sum):
            raise TrainingError(
                f"the loss is {share.loss} in epoch {epoch} by batch {batch}:"
                " training diverged; lower the learning rate"
            )
        progress = Progress(
            networks=recipe.teachers + 1,
            epoch=epoch,
            epochs=recipe.epochs_in_all,
            batch=batch,
            batches=job.batches,
            batch_size=recipe.batch_size,
            loss=loss_sum / batch,
            accuracy=correct / seen,
            images_per_s=seen / (time.perf_counter() - started),
        )
        job.on_progress(progress)


def _batches(
    job: _Job, epoch: int, ensemble: Ensemble | None, pool: Executor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's batches: augmented, uint8 (B, 28, 28), with targets, float32 (B, 10)."""
    size = job.recipe.batch_size
    for images, labels in _augmented_chunks(job.images, job.labels, job.recipe, epoch, pool):
        if ensemble:
            targets = ensemble.soft_targets(images, pool)
        else:
            targets = smooth_labels(labels, job.recipe.label_smoothing)
        yield from zip(torch.split(images, size), torch.split(targets, size), strict=True)


def _augmented_chunks(
    images: Tensor, labels: Tensor, recipe: Recipe, epoch: int, pool: Executor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield 20 batches at once, augmented, in an order that only (seed, epoch) decides."""
    generator = torch.Generator().manual_seed(_epoch_seed(recipe, epoch))
    order = torch.randperm(len(images), generator=generator).to(images.device)
    whole = len(images) - len(images) % recipe.batch_size
    for chosen in torch.split(order[:whole], AUGMENT_BATCHES * recipe.batch_size):
        yield _augment_in_parallel(images[chosen], recipe, generator, pool), labels[chosen]


def _augment_in_parallel(
    images: Tensor, recipe: Recipe, generator: Generator, pool: Executor
) -> Tensor:
    """Augment parts of a fixed size, each with a seed drawn in order."""
    parts = torch.split(images, AUGMENT_PART)
    seeds = torch.randint(2**62, (len(parts),), generator=generator).tolist()

    def augment_part(part: Tensor, seed: int) -> Tensor:
        return augment(part, recipe, torch.Generator(part.device).manual_seed(seed))

    return torch.cat(list(pool.map(augment_part, parts, seeds)))


def first_batch(recipe: Recipe, train: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the first batch that a run of this recipe is trained on: images and labels."""
    images = torch.from_numpy(np.require(train.images, requirements="W"))  # copied if read-only
    labels = torch.tensor(train.labels)
    with ThreadPoolExecutor(1) as pool:
        x, y = next(_augmented_chunks(images, labels, recipe, 1, pool))
    return x[: recipe.batch_size].numpy(), y[: recipe.batch_size].numpy()


def _epoch_seed(recipe: Recipe, epoch: int) -> int:
    return recipe.seed * 1_000_003 + epoch
