"""The state of a network in training: one flat array, and what its parts are called.

    state = initial_state(images, seed=0, epoch=0)
    views(state.values)["features.0.weight"]           # (8, 1, 3, 3), not a copy

    parameters | BatchNorms' statistics | of each matrix, then of all vectors: what SOAP keeps

Parameters lie in the order of `MnistNet.parameters()`, statistics in that of its buffers. These two
are the *weights*, `weights_size()` numbers: all that predicts. For the rest see torch_engine.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnistnet.errors import WeightsError
from mnistnet.model.architecture import MEAN, STD, layers, parameter_count
from mnistnet.text import first_line
from mnistnet.training.draws import generator_for

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.model.architecture import Layer

    Floats = NDArray[np.float32]

SAMPLE = 100  # images to take patches of: 67,600 patches, far more than 9×9 covariances need
FLAT = 0.16  # standard deviation, in normalised grey, below which a patch holds no edge
GAIN = 1.6  # standard deviation of the filters' output, so that GELU's curved part is used


class Slot(NamedTuple):
    """Where an array lies in the flat one."""

    start: int
    stop: int
    shape: tuple[int, ...]


@dataclass
class State:
    """A network in training and its optimiser; an engine trains it in place.

    Attributes:
        values: float32, `state_size()` of them.
        steps: taken so far.
    """

    values: Floats
    steps: int = 0

    @property
    def weights(self) -> Floats:
        """What predicts: float32 (weights_size(),), a view."""
        return self.values[: weights_size()]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the weights as the `state_dict` of `MnistNet` names and shapes them."""
        named = {
            name: a
            for name, a in views(self.values).items()
            if slots()[name].stop <= len(self.weights)
        }
        batches = {
            f"{layer.norm}.num_batches_tracked": np.array(self.steps) for layer in _normalised()
        }
        return named | batches


def parameter_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter by name, in the order of `MnistNet.parameters()`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers():
        if layer.kind != "pool":
            window = (layer.inputs, layer.kernel, layer.kernel)
            shapes[f"{layer.name}.weight"] = (
                layer.channels,
                *(window if layer.kind == "conv" else (math.prod(window),)),
            )
            shapes[f"{layer.name}.bias"] = (layer.channels,)
        if layer.normalised:
            shapes |= {f"{layer.norm}.{part}": (layer.channels,) for part in ("weight", "bias")}
    return shapes


@cache
def slots() -> dict[str, Slot]:
    """Return the place of each array by its name, in order."""
    parameters = parameter_shapes()
    shapes = dict(parameters)
    for layer in _normalised():
        for part in ("running_mean", "running_var"):
            shapes[f"{layer.norm}.{part}"] = (layer.channels,)
    for name in matrices():
        rows, columns = parameters[name][0], math.prod(parameters[name][1:])
        whole, left, right = (rows, columns), (rows, rows), (columns, columns)
        shapes |= {f"{name}/mean": whole, f"{name}/square": whole}
        shapes |= {f"{name}/left": left, f"{name}/right": right}
        shapes |= {f"{name}/left_basis": left, f"{name}/right_basis": right}
    vectors = sum(shape[0] for shape in parameters.values() if len(shape) == 1)
    shapes |= {f"vectors/{part}": (vectors,) for part in ("mean", "square")}
    found, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        found[name], start = Slot(start, stop, shape), stop
    return found


def matrices() -> list[str]:
    """Return the names of the parameters that are matrices, when each kernel is a row."""
    return [name for name, shape in parameter_shapes().items() if len(shape) > 1]


def weights_size() -> int:
    """Count the numbers that predict: parameters and statistics."""
    return parameter_count() + sum(2 * layer.channels for layer in _normalised())


def state_size() -> int:
    """Count all numbers of a state."""
    return max(slot.stop for slot in slots().values())


def views(values: Any) -> dict[str, Any]:
    """Return the parts of a flat array, or of its beginning, by name: NumPy's or torch's."""
    return {
        name: values[slot.start : slot.stop].reshape(slot.shape)
        for name, slot in slots().items()
        if slot.stop <= len(values)
    }


def initial_state(images: NDArray[np.uint8], *, seed: int, epoch: int) -> State:
    """Return a new network: PyTorch's initial weights, but for a whitened first layer.

    The optimiser's part is all zeros, see `prepare_optimiser`.

    Args:
        images: uint8 (N, 28, 28), the training images.
        seed: of the run.
        epoch: after which the network is begun, over all networks of the run.
    """
    state = State(np.zeros(state_size(), np.float32))
    parts, generator = views(state.values), generator_for(seed, epoch, for_weights=True)
    for layer in layers():
        if layer.kind != "pool":  # uniform, as torch.nn's Conv2d and Linear have it
            bound = 1 / math.sqrt(layer.inputs * layer.kernel**2)
            for part in (parts[f"{layer.name}.weight"], parts[f"{layer.name}.bias"]):
                part[:] = generator.uniform(-bound, bound, part.shape)
        if layer.normalised:
            parts[f"{layer.norm}.weight"][:] = parts[f"{layer.norm}.running_var"][:] = 1
    first = layers()[0].name
    parts[f"{first}.weight"][:] = _whitening_filters(images)[:, None]
    parts[f"{first}.bias"][:] = 0
    return state


def _whitening_filters(images: NDArray[np.uint8]) -> Floats:
    """Return the principal components of 3×3 patches, as the first layer's filters (8, 3, 3).

    The four of the largest variance, each scaled to the same standard deviation, with both signs,
    since GELU passes only one. After Page 2018, "How to train your ResNet" and
    Jordan 2024, "94% on CIFAR-10 in 3.29 seconds".
    """
    x = ((images[:SAMPLE] / 255 - MEAN) / STD).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    patches = windows.reshape(-1, 9)
    centred = patches - patches.mean(axis=1, keepdims=True)
    patches = patches[(centred * centred).sum(axis=1) > 8 * FLAT**2]  # 8: of 9, unbiased
    patches = patches - patches.mean(axis=0, dtype=np.float64)
    covariance = np.einsum("ni,nj->ij", patches, patches) / len(patches)
    variances, directions = np.linalg.eigh(covariance)  # ascending
    filters = (directions[:, -4:] / np.sqrt(variances[-4:])).T[::-1] * GAIN
    return np.concatenate([filters, -filters]).reshape(8, 3, 3).astype(np.float32)


def prepare_optimiser(state: State, gradient: Floats) -> None:
    """Set the covariances and their eigenbases to those of the first gradient.

    Args:
        state: of a new network.
        gradient: float32 (20826,), of the parameters.
    """
    parts, gradients = views(state.values), views(gradient.astype(np.float64))
    for name in matrices():
        g = gradients[name].reshape(len(gradients[name]), -1)
        left = np.einsum("ik,jk->ij", g, g)
        left_basis = np.linalg.eigh(left)[1][:, ::-1]  # by decreasing eigenvalues
        parts[f"{name}/left"][:], parts[f"{name}/left_basis"][:] = left, left_basis
        parts[f"{name}/right"][:] = np.einsum("ki,kj->ij", g, g)
        parts[f"{name}/right_basis"][:] = _orthonormal(np.einsum("ki,kr->ir", g, left_basis))


def _orthonormal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis (C, C) whose first R vectors are columns (C, R), normalised.

    By Householder's reflections. In NumPy, since the last bits of LAPACK's depend on its threads.
    """
    x, basis = columns.copy(), np.eye(len(columns))
    for k in range(x.shape[1]):
        v = np.where(np.arange(len(x)) < k, 0, x[:, k])
        v[k] += math.copysign(math.sqrt((v * v).sum()), v[k])
        if length := (v * v).sum():
            x -= np.outer(v, (v[:, None] * x).sum(0)) * (2 / length)
            basis -= np.outer((basis * v).sum(1), v) * (2 / length)
    return basis


def load_weights(path: Path) -> Floats:
    """Load a trained network: float32 (weights_size(),).

    Raises:
        WeightsError: the file does not hold this network's weights, or they are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    weights = np.empty(weights_size(), np.float32)
    try:
        tensors = load(path.read_bytes())
        for name, part in views(weights).items():
            if tensors[name].shape != part.shape:
                raise ValueError(f"{name} has shape {tensors[name].shape}")
            part[:] = tensors[name]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: does not hold MnistNet's weights ({first_line(error)}); train again"
        ) from error
    if not np.isfinite(weights).all():
        raise WeightsError(f"{path}: weights are not finite: training diverged; train again")
    return weights


def _normalised() -> list[Layer]:
    return [layer for layer in layers() if layer.normalised]
