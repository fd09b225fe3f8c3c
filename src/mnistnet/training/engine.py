"""What an engine is: the four things that it computes, and what it is given for them.

    engine = engine_for(recipe)                        # machine.py
    trained = engine.train(state, chunk)               # some 100 batches; `state` is changed

Everything else of training (order, schedule, random draws, distillation, checkpoints) is written
once, above the engines: see fit.py.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnistnet.training.draws import Draws
    from mnistnet.training.recipe import Recipe
    from mnistnet.training.state import State

    Floats = NDArray[np.float32]

EPSILON = 1e-8  # keeps the optimiser's division finite
REFRESH_EVERY = 20  # steps between two updates of the eigenbases, which change slowly


@dataclass(frozen=True)
class Environment:
    """What computes: the same seed gives the same bits only with the same of these."""

    device: str  # "cpu", "cuda" or "mps"
    engine: str  # "native" or "torch"
    precision: str  # of the layers: "bfloat16" or "float32"
    threads: int
    instruction_set: str
    compiler: str = ""  # of the native engine: its name and version
    machine: str = field(default_factory=platform.machine)

    def __str__(self) -> str:
        """Describe it in a line."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.engine}, {self.device}, {self.instruction_set}, {self.precision}, {threads}"


@dataclass(frozen=True, eq=False)
class Chunk:
    """Batches to train on in one call: N images, whole batches.

    Attributes:
        recipe: whose batch size, temperature, betas and weight decay count.
        images: uint8 (N, 28, 28), in order, not yet augmented.
        targets: float32 (N, 10), probabilities; where there are teachers, theirs count instead.
            Flat ones are those of images that show no digit.
        draws: for the augmentation of the N images.
        rates: float32 (batches,), the learning rate of each step.
        teachers: float32 (T, weights_size()), the networks to learn from; T may be 0.
    """

    recipe: Recipe
    images: NDArray[np.uint8]
    targets: Floats
    draws: Draws
    rates: Floats
    teachers: Floats

    @property
    def has_class(self) -> NDArray[np.bool_]:
        """Whether each image shows a digit: (N,)."""
        return np.asarray((self.targets != self.targets[:, :1]).any(1))


@dataclass(frozen=True)
class Trained:
    """What the steps with a chunk gave, batch by batch."""

    losses: list[float]  # the mean over each batch's images
    correct: list[int]  # images with a class whose most probable class is the target's


class Engine(Protocol):
    """Computes what training needs; the same arguments give the same bits.

    Attributes:
        environment: what it computes with, for the record.
        why: why it is not the native one; empty if it is, or if the recipe asks for this one.
    """

    environment: Environment
    why: str

    def augment(self, images: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
        """Augment images: uint8 (N, 28, 28) → uint8 (N, 28, 28)."""

    def gradients(self, state: State, chunk: Chunk) -> Floats:
        """Compute the gradient of a chunk's first batch, float32 (20826,); `state` is unchanged."""

    def train(self, state: State, chunk: Chunk) -> Trained:
        """Take a step with each batch of a chunk, in place. When interrupted, `state` is void."""

    def probabilities(self, weights: Floats, images: NDArray[np.uint8]) -> Floats:
        """Predict in float32: uint8 (N, 28, 28) → (N, 10), each row of which adds up to 1."""
