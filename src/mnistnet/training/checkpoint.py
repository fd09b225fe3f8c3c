"""A run's state after an epoch, as one safetensors file: no pickle, whole or not there.

The random state is not in it: every epoch seeds its own (see `training.loop`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mnistnet.errors import RunError
from mnistnet.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from mnistnet.training.optimiser import Soap
    from mnistnet.training.recipe import Recipe


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    net: nn.Module,
    optimiser: Soap,
    *,
    epochs_done: int,
) -> None:
    """Write the state after `epochs_done` epochs. Raises FileError where it cannot."""
    from safetensors.torch import save

    tensors = {f"net/{name}": value for name, value in net.state_dict().items()}
    tensors |= {f"optimiser/{name}": value for name, value in optimiser.state_dict().items()}
    metadata = {"recipe": json.dumps(recipe.as_dict()), "epochs_done": str(epochs_done)}
    write_bytes(path, save({k: v.contiguous() for k, v in tensors.items()}, metadata))


def epochs_done(path: Path) -> int:
    """Say after how many epochs a checkpoint was written; 0 where there is none.

    Raises:
        RunError: the file is damaged.
    """
    if not path.exists():
        return 0
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return int(file.metadata()["epochs_done"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def load_checkpoint(path: Path, recipe: Recipe, net: nn.Module, optimiser: Soap) -> int:
    """Put a saved state into a network and its optimiser.

    Returns:
        How many epochs are done; 0, and nothing changed, where there is no checkpoint.

    Raises:
        RunError: the file is damaged, or belongs to another recipe.
    """
    if not path.exists():
        return 0
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if json.loads(metadata["recipe"]) != recipe.as_dict():
            raise RunError(f"{path}: was written by another recipe; start a new run")
        net.load_state_dict(_below("net/", tensors))
        optimiser.load_state_dict(_below("optimiser/", tensors))
        return int(metadata["epochs_done"])
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> RunError:
    return RunError(f"{path}: is not a checkpoint of this network; delete it to start over")


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
