"""A run's state after an epoch, as one safetensors file: no pickle, written atomically.

It holds the network in training, its optimiser, and the teachers trained before it. The random
state is not in it: every epoch seeds its own (see `training.loop`).
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnistnet.errors import RunError
from mnistnet.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch

    from mnistnet.model.network import MnistNet
    from mnistnet.training.optimiser import Soap
    from mnistnet.training.recipe import Recipe


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    net: MnistNet,
    optimiser: Soap,
    *,
    teachers: Sequence[MnistNet],
    epochs_done: int,
) -> None:
    """Write the state after `epochs_done` epochs of the whole run. Raises FileError."""
    from safetensors.torch import save

    parts = {"net": net.state_dict(), "optimiser": optimiser.state_dict()}
    parts |= {f"teacher{i}": teacher.state_dict() for i, teacher in enumerate(teachers)}
    tensors = {f"{part}/{name}": v for part, state in parts.items() for name, v in state.items()}
    metadata = {"recipe": json.dumps(recipe.as_dict()), "epochs_done": str(epochs_done)}
    write_bytes(path, save({k: v.contiguous() for k, v in tensors.items()}, metadata))


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


def load_teachers(path: Path, recipe: Recipe) -> list[MnistNet]:
    """Load the teachers that were trained before a checkpoint, in evaluation mode.

    Raises:
        RunError: the file is damaged, or belongs to another recipe.
    """
    from mnistnet.model.network import MnistNet

    tensors, done = _read(path, recipe)
    teachers = [MnistNet() for _ in range(max(done - 1, 0) // recipe.epochs)]
    with _naming(path):
        for number, teacher in enumerate(teachers):
            teacher.load_state_dict(_part(f"teacher{number}/", tensors))
    return [teacher.eval() for teacher in teachers]


def load_checkpoint(path: Path, recipe: Recipe, net: MnistNet, optimiser: Soap) -> int:
    """Load a saved state into the network in training and its optimiser.

    Returns:
        How many epochs of the whole run are done; 0, with nothing changed, where there is no
        checkpoint.

    Raises:
        RunError: the file is damaged, or belongs to another recipe.
    """
    tensors, done = _read(path, recipe)
    if done:
        with _naming(path):
            net.load_state_dict(_part("net/", tensors))
            optimiser.load_state_dict(_part("optimiser/", tensors))
    return done


def _read(path: Path, recipe: Recipe) -> tuple[dict[str, torch.Tensor], int]:
    """Read a checkpoint's tensors, and how many epochs are done; ({}, 0) where there is none."""
    if not path.exists():
        return {}, 0
    from safetensors import safe_open

    with _naming(path), safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        if json.loads(metadata["recipe"]) != recipe.as_dict():
            raise RunError(f"{path}: was written by another recipe; start a new run")
        done = int(metadata["epochs_done"])
        if not 0 < done < recipe.epochs_in_all:
            raise ValueError(f"{done} epochs are done")
        return {name: file.get_tensor(name) for name in file.keys()}, done  # noqa: SIM118


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


def _part(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
