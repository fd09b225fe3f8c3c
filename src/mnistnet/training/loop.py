"""Do it: carry out a recipe on a training set.

    net = fit(recipe_named("fast"), data.train, on_progress=print)

The whole set lies in memory, pictures are augmented many at a time, and each thread takes its
share of every batch. Where the recipe asks for teachers, those learn first, one after the other,
and the last network learns what they say together. Epochs are counted through all of them, and
every random number of an epoch comes from (seed, epoch), so a run that is resumed after an epoch
goes on to the same bits.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from mnistnet.training.distillation import Teachers, from_labels
from mnistnet.training.hardware import resolve
from mnistnet.training.initial import whiten_first_layer
from mnistnet.training.optimiser import Soap, learning_rate
from mnistnet.training.replicas import Replicas, replicating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    import numpy as np
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

    networks: int  # the teachers and the one that learns from them; 1 without teachers
    epoch: int  # from 1, of all networks together
    epochs: int
    batch: int  # of this epoch, from 1
    batches: int
    loss: float
    # A fraction, of the augmented training images, in training mode; for a network with teachers
    # how often it agrees with them.
    accuracy: float
    images_per_s: float  # over the epoch so far

    @property
    def network(self) -> int:
        """Which network learns, from 1."""
        return 1 + (self.epoch - 1) * self.networks // self.epochs

    @property
    def fraction(self) -> float:
        """How much of the whole run is done."""
        return (self.epoch - 1 + self.batch / self.batches) / self.epochs


def fit(
    recipe: Recipe,
    train: Split,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> MnistNet:
    """Train a network.

    Args:
        recipe: what to do.
        train: the images to train on, all of them; whoever calls has held out the validation.
        on_progress: is told every 100 batches and at each epoch's end.
        checkpoint: a file to write after each epoch but the last; one that exists is gone on from.

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
    networks = load_teachers(checkpoint, recipe) if checkpoint else []
    while len(networks) <= recipe.teachers:
        networks.append(_train_one(recipe, train, hardware, networks, on_progress, checkpoint))
    return networks[-1]


def _train_one(
    recipe: Recipe,
    train: Split,
    hardware: Hardware,
    before: list[MnistNet],
    on_progress: Callable[[Progress], None],
    checkpoint: Path | None,
) -> MnistNet:
    """Train the next network: a teacher, or the last one, which has those before for teachers."""
    images = torch.tensor(train.images, device=hardware.device)  # uint8 (N, 28, 28)
    labels = torch.tensor(train.labels, device=hardware.device).long()  # (N,)
    batches = len(images) // recipe.batch_size  # the rest comes in another epoch
    first, last = len(before) * recipe.epochs + 1, (len(before) + 1) * recipe.epochs

    torch.manual_seed(_epoch_seed(recipe, first - 1))
    net = MnistNet(recipe.dropout)
    whiten_first_layer(net, train.images)
    if hardware.engine == "torch":
        net = _laid_out(net.to(hardware.device), torch.channels_last)
    compiled = compiled_step(hardware.precision) if hardware.engine == "compiled" else None
    optimiser = Soap(net, recipe, compiled)
    if checkpoint and first <= epochs_done(checkpoint):
        first = load_checkpoint(checkpoint, recipe, net, optimiser) + 1
    taught = before and len(before) == recipe.teachers
    teachers = Teachers(before, hardware, recipe.temperature) if taught else None
    with replicating(net, hardware) as replicas:
        for epoch in range(first, last + 1):
            lessons = _lessons(images, labels, recipe, epoch, teachers, replicas.pool)
            _run_epoch(recipe, epoch, replicas, optimiser, lessons, batches, on_progress)
            replicas.share_statistics()
            if checkpoint and epoch < recipe.epochs_in_all:
                save_checkpoint(
                    checkpoint, recipe, net, optimiser, teachers=before, epochs_done=epoch
                )
    return _laid_out(net.to("cpu"), torch.contiguous_format).eval()


def _laid_out(net: MnistNet, memory_format: torch.memory_format) -> MnistNet:
    """Put a network's weights in a memory format; convolutions here run faster channels-last."""
    net.to(memory_format=memory_format)  # type: ignore[call-overload]  # missing from torch's stub
    return net


def _run_epoch(
    recipe: Recipe,
    epoch: int,
    replicas: Replicas,
    optimiser: Soap,
    lessons: Iterator[tuple[Tensor, Tensor]],
    batches: int,
    on_progress: Callable[[Progress], None],
) -> None:
    """Learn an epoch's batches."""
    torch.manual_seed(_epoch_seed(recipe, epoch))
    started, loss_sum, correct = time.perf_counter(), 0.0, 0
    for batch, (images, targets) in enumerate(lessons, start=1):
        share = replicas.gradients(images, targets)
        done = ((epoch - 1) % recipe.epochs + (batch - 1) / batches) / recipe.epochs
        optimiser.step(learning_rate(recipe, done=done), replicas.pool)
        loss_sum += share.loss
        correct += share.correct
        if batch % REPORT_EVERY and batch < batches:
            continue
        seen = batch * recipe.batch_size
        if not math.isfinite(loss_sum):
            raise TrainingError(
                f"the loss is {share.loss} in epoch {epoch} by batch {batch}:"
                " training diverged; lower the learning rate"
            )
        on_progress(
            Progress(
                networks=recipe.teachers + 1,
                epoch=epoch,
                epochs=recipe.epochs_in_all,
                batch=batch,
                batches=batches,
                loss=loss_sum / batch,
                accuracy=correct / seen,
                images_per_s=seen / (time.perf_counter() - started),
            )
        )


def _lessons(
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    epoch: int,
    teachers: Teachers | None,
    pool: Executor,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's whole batches: varied, uint8 (B, 28, 28), and targets, float32 (B, 10)."""
    for varied, digits in _shuffled(images, labels, recipe, epoch, pool):
        if teachers:
            targets = teachers.say(varied, pool)
        else:
            targets = from_labels(digits, recipe.label_smoothing)
        size = recipe.batch_size
        yield from zip(torch.split(varied, size), torch.split(targets, size), strict=True)


def _shuffled(
    images: Tensor, labels: Tensor, recipe: Recipe, epoch: int, pool: Executor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield many batches at once, augmented, in an order that only (seed, epoch) decides."""
    generator = torch.Generator().manual_seed(_epoch_seed(recipe, epoch))
    order = torch.randperm(len(images), generator=generator).to(images.device)
    whole = len(images) - len(images) % recipe.batch_size
    for some in torch.split(order[:whole], AUGMENT_BATCHES * recipe.batch_size):
        yield _augmented(images[some], recipe, generator, pool), labels[some]


def _augmented(images: Tensor, recipe: Recipe, generator: Generator, pool: Executor) -> Tensor:
    """Augment in parallel: parts of a fixed size, each with a seed drawn in order."""
    parts = torch.split(images, AUGMENT_PART)
    seeds = torch.randint(2**62, (len(parts),), generator=generator).tolist()

    def one(part: Tensor, seed: int) -> Tensor:
        return augment(part, recipe, torch.Generator(part.device).manual_seed(seed))

    return torch.cat(list(pool.map(one, parts, seeds)))


def first_batch(recipe: Recipe, train: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Give the first pictures and labels that a run of this recipe sees, as it sees them."""
    images, labels = torch.tensor(train.images), torch.tensor(train.labels)
    with ThreadPoolExecutor(1) as pool:
        x, y = next(_shuffled(images, labels, recipe, 1, pool))
    return x[: recipe.batch_size].numpy(), y[: recipe.batch_size].numpy()


def _epoch_seed(recipe: Recipe, epoch: int) -> int:
    return recipe.seed * 1_000_003 + epoch
