"""A run's state after an epoch, as one safetensors file: no pickle, written atomically.

It holds the network in training with its optimiser, and the teachers trained before it. There is no
generator's state in it: every epoch seeds its own (see `draws.generator_for`).
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.errors import RunError
from mnistnet.files import write_bytes
from mnistnet.training.state import State, state_size, weights_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a run stood after an epoch.

    Attributes:
        state: of the network in training.
        teachers: float32 (T, weights_size()), those trained before it.
        epochs_done: over all networks.
    """

    state: State
    teachers: NDArray[np.float32]
    epochs_done: int


def save_checkpoint(path: Path, recipe: Recipe, checkpoint: Checkpoint) -> None:
    """Write a checkpoint. Raises FileError."""
    from safetensors.numpy import save

    state = checkpoint.state
    metadata = {
        "recipe": json.dumps(recipe.as_dict()),
        "epochs_done": str(checkpoint.epochs_done),
        "steps": str(state.steps),
    }
    write_bytes(path, save({"state": state.values, "teachers": checkpoint.teachers}, metadata))


def epochs_done(path: Path) -> int:
    """Return after how many epochs a checkpoint was written; 0 where there is none.

    Raises:
        RunError: the file is damaged.
    """
    if not path.exists():
        return 0
    from safetensors import safe_open

    with _naming(path), safe_open(path, framework="numpy") as file:
        return int(file.metadata()["epochs_done"])


def load_checkpoint(path: Path, recipe: Recipe) -> Checkpoint | None:
    """Read a checkpoint; None where there is none.

    Raises:
        RunError: the file is damaged, or belongs to another recipe.
    """
    if not path.exists():
        return None
    from safetensors import safe_open

    with _naming(path), safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        if json.loads(metadata["recipe"]) != recipe.as_dict():
            raise RunError(f"{path}: was written by another recipe; start a new run")
        done, steps = int(metadata["epochs_done"]), int(metadata["steps"])
        values, teachers = (file.get_tensor(name) for name in ("state", "teachers"))
        if not 0 < done < recipe.epochs_in_all or steps < 1:
            raise ValueError(f"{done} epochs and {steps} steps are done")
        shapes = (state_size(),), ((done - 1) // recipe.epochs, weights_size())
        for array, shape in zip((values, teachers), shapes, strict=True):
            if (array.shape, array.dtype) != (shape, np.float32) or not np.isfinite(array).all():
                raise ValueError(f"not {shape} finite numbers of float32")
        return Checkpoint(State(values, steps), teachers, done)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into one error that names it."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: is not a checkpoint of this network; delete it to start over"
        ) from error
