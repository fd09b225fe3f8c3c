"""`weights.safetensors` read and evaluated without torch: the reference that graphs are held to.

    weights = read_weights(directory, manifest)
    probabilities = reference_probabilities(weights, images)    # uint8 (N, 28, 28) → (N, 10)

The file must have the header that docs/BUNDLE.md lays down, to the name, type, shape and offset.
The network is computed in float64, layer by layer as `model/architecture.py` describes it, so that
every rounding that is left is the graph's own.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnistnet.bundle.manifest import read_file
from mnistnet.bundle.strict_json import parse_json
from mnistnet.errors import BundleError
from mnistnet.model.architecture import MEAN, STD, Layer, layers
from mnistnet.training.state import parameter_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest

    Weights = Mapping[str, NDArray[Any]]  # MnistNet's state_dict, as arrays
    Maps = NDArray[np.float64]  # (N, C, H, W)

EPSILON = 1e-5  # of every BatchNorm: torch's default, which MnistNet leaves as it is


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the network's `state_dict`, by name."""
    shapes = parameter_shapes()
    for layer in layers():
        if layer.normalised:
            for part in ("running_mean", "running_var"):
                shapes[f"{layer.norm}.{part}"] = (layer.channels,)
            shapes[f"{layer.norm}.num_batches_tracked"] = ()
    return shapes


class Tensor(NamedTuple):
    """What the header says of a tensor."""

    dtype: str
    shape: list[int]
    data_offsets: list[int]  # where its bytes start and end, after the header


def expected_header() -> dict[str, Tensor]:
    """Return the header that the format lays down: whole numbers first, then by name."""
    shapes = tensor_shapes()
    header: dict[str, Tensor] = {}
    offset = 0
    for name in sorted(shapes, key=lambda name: (bool(shapes[name]), name)):
        kind, size = ("F32", 4) if shapes[name] else ("I64", 8)
        end = offset + size * math.prod(shapes[name])
        header[name] = Tensor(kind, list(shapes[name]), [offset, end])
        offset = end
    return header


def read_weights(directory: Path, manifest: Manifest) -> Weights:
    """Read a bundle's weights.

    Returns:
        Tensors by name: float32, and int64 for the counts of batches.

    Raises:
        BundleError: the file is not the manifest's, its header is not the format's, or a number
            is not finite.
    """
    where = directory / "weights.safetensors"
    content = read_file(directory, where.name, manifest)
    length = int.from_bytes(content[:8], "little")
    header = parse_json(content[8 : 8 + length], where)
    expected, body = expected_header(), content[8 + length :]
    (*_, last) = expected.values()
    wanted = {name: tensor._asdict() for name, tensor in expected.items()}
    same = json.dumps(header, sort_keys=True) == json.dumps(wanted, sort_keys=True)  # 8.0 is not 8
    if not same or len(body) != last.data_offsets[1]:
        raise BundleError(
            f"{where}: does not hold this network's tensors, laid out as the format says; export"
            " the run again"
        )
    weights: dict[str, NDArray[np.generic]] = {}
    for name, (kind, shape, (start, end)) in expected.items():
        dtype = "<f4" if kind == "F32" else "<i8"
        weights[name] = np.frombuffer(body[start:end], dtype).reshape(shape)
        if not np.isfinite(weights[name]).all():
            raise BundleError(f"{where}: holds numbers that are not finite; train again")
    return weights


def reference_probabilities(weights: Weights, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the network in float64.

    Args:
        weights: see `read_weights`.
        images: uint8 (N, 28, 28), ink bright on dark.

    Returns:
        float64 (N, 10); each row sums to 1, or is NaN where the weights lead to no number.
    """
    with np.errstate(all="ignore"):
        x = ((images / 255 - MEAN) / STD)[:, None]  # (N, 1, 28, 28)
        for layer in layers():
            x = _layer(layer, weights, x)
        odds = np.exp(x[:, :, 0, 0] - x[:, :, 0, 0].max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _layer(layer: Layer, weights: Weights, x: Maps) -> Maps:
    """Compute one layer, and the GELU and BatchNorm that follow where it is normalised."""
    n = len(x)
    if layer.kind == "pool":
        whole = layer.side * layer.kernel  # rows and columns beyond are left out
        x = x[:, :, :whole, :whole]
        x = x.reshape(n, layer.channels, layer.side, layer.kernel, layer.side, layer.kernel)
        x = x.max(axis=(3, 5))
    else:
        kernel = weights[f"{layer.name}.weight"].reshape(layer.channels, -1).astype(np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(x, (layer.kernel, layer.kernel), (2, 3))
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * layer.side**2, -1)
        maps = columns @ kernel.T + weights[f"{layer.name}.bias"].astype(np.float64)
        x = maps.reshape(n, layer.side, layer.side, layer.channels).transpose(0, 3, 1, 2)
    if not layer.normalised:
        return x
    scale, shift = batch_norm(layer.norm, weights)
    return _gelu(x) * scale[:, None, None] + shift[:, None, None]


def _gelu(x: Maps) -> Maps:
    """Compute x·Φ(x), Φ by the error function (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    erf = np.asarray(np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)), np.float64)
    return np.asarray(x * 0.5 * (1 + erf))


def batch_norm(name: str, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a BatchNorm with fixed statistics as scale·x + shift: both (channels,)."""
    gain, bias, mean, variance = (
        weights[f"{name}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + EPSILON)
    return scale, bias - scale * mean
