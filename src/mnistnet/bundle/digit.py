"""`digit.onnx`: the network as runtimes compute it fastest, rewritten by exact algebra only.

    model = digit_graph(weights, mean=MEAN, std=STD)    # weights: MnistNet's state, as arrays

One graph, `images` uint8 (N, 28, 28) to `probabilities` float32 (N, 10). What each rewriting
gains is measured by `benchmarks/inference.py`:

- An affine map before a convolution without padding is part of that convolution: so vanish the
  normalisation of the pixels and four of the six BatchNorms.
- The other two feed a pooling. max(s·x + t) = s·max(x) + t for s ≥ 0, so they move behind it, to
  a quarter of the values.
- Nothing lies between the last convolution and the classifier but dropout, which is off: the two
  linear maps become one.
- The first two convolutions have too few channels, 8 and 16, to fill the widest vector registers.
  They compute two rows of their output at once, as twice the channels.

The algebra is done in float64 and rounded to float32 once, at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from onnx import TensorProto

from mnistnet.bundle.graph import Graph, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

    from mnistnet.bundle.graph import Array

IMAGES = Tensor("images", np.uint8, ("N", 28, 28))
PROBABILITIES = Tensor("probabilities", np.float32, ("N", 10))
BATCH_NORM_EPSILON = 1e-5  # torch's default, which MnistNet leaves as it is


class Affine(NamedTuple):
    """A BatchNorm with its statistics frozen: scale·x + shift, each (channels,)."""

    scale: Array
    shift: Array

    @property
    def keeps_order(self) -> bool:
        """Whether the greatest value stays the greatest: a negative scale makes it the least."""
        return bool((self.scale >= 0).all())


class Convolution(NamedTuple):
    """A convolution without padding: weight (outputs, inputs, height, width), bias (outputs,)."""

    weight: Array
    bias: Array

    def after(self, affine: Affine) -> Convolution:
        """Take an affine map of the input into the convolution."""
        return Convolution(
            self.weight * affine.scale[None, :, None, None],
            self.bias + (self.weight.sum((2, 3)) * affine.shift).sum(1),
        )

    def to_row_pairs(self) -> Convolution:
        """Compute the even and the odd rows of the output as channels (2, outputs).

        Output row 2r + p becomes row r of channel group p. The kernel is one row taller, and it
        is to be moved by 2 rows.
        """
        outputs, inputs, height, width = self.weight.shape
        weight = np.zeros((2, outputs, inputs, height + 1, width))
        for p in range(2):
            weight[p, :, :, p : p + height] = self.weight
        weight = weight.reshape(2 * outputs, inputs, height + 1, width)
        return Convolution(weight, np.tile(self.bias, 2))

    def between_row_pairs(self) -> Convolution:
        """Take rows in pairs, channels (2, inputs), to rows in pairs, channels (2, outputs)."""
        outputs, inputs, height, width = self.weight.shape
        weight = np.zeros((2, outputs, 2, inputs, (height + 1) // 2, width))
        for p in range(2):
            for k in range(height):
                pair, parity = divmod(p + k, 2)  # output row p needs input row p + k
                weight[p, :, parity, :, pair] = self.weight[:, :, k]
        weight = weight.reshape(2 * outputs, 2 * inputs, (height + 1) // 2, width)
        return Convolution(weight, np.tile(self.bias, 2))


def digit_graph(weights: Mapping[str, NDArray[Any]], *, mean: float, std: float) -> onnx.ModelProto:
    """Write the trained network down as an ONNX graph.

    Args:
        weights: MnistNet's state, arrays by name.
        mean: of the pixels (0–1); the network was trained to have it subtracted.
        std: of the pixels (0–1); the network was trained to have them divided by it.
    """
    conv1, conv2, conv3, conv4, conv5 = (convolution(weights, i) for i in (0, 3, 9, 15, 18))
    norm1, norm2, norm3, norm4, norm5, norm6 = (
        batch_norm(weights, i) for i in (2, 5, 8, 11, 14, 17)
    )
    pixels = Affine(np.array([1 / (255 * std)]), np.array([-mean / std]))

    g = Graph()
    x = g.add("Cast", g.reshape(IMAGES.name, -1, 1, 28, 28), to=TensorProto.FLOAT)
    x = g.conv(x, *conv1.after(pixels).to_row_pairs(), strides=[2, 1])  # (N, 2·8, 13, 26)
    x = g.conv(g.add("Gelu", x), *conv2.after(norm1).between_row_pairs())  # (N, 2·16, 12, 24)
    x = _pool_row_pairs(g, g.add("Gelu", x), norm2)  # (N, 16, 12, 12)
    x = g.conv(g.add("Gelu", x), *conv3.after(norm3))  # (N, 32, 10, 10)
    x = _pool(g, g.add("Gelu", x), norm4)  # (N, 32, 5, 5)
    x = g.conv(g.add("Gelu", x), *conv4.after(norm5))  # (N, 32, 3, 3)
    x = g.reshape(g.add("Gelu", x), -1, 32 * 3 * 3)
    x = g.linear(x, *merged_head(conv5.after(norm6), weights))  # (N, 10)
    g.add("Softmax", x, axis=1, output=PROBABILITIES.name)
    return g.model("digit", [IMAGES], [PROBABILITIES])


def convolution(weights: Mapping[str, NDArray[Any]], index: int) -> Convolution:
    """Find the convolution at a place in `MnistNet.features`, in float64."""
    weight, bias = (weights[f"features.{index}.{part}"] for part in ("weight", "bias"))
    return Convolution(weight.astype(np.float64), bias.astype(np.float64))


def batch_norm(weights: Mapping[str, NDArray[Any]], index: int) -> Affine:
    """Find the BatchNorm at a place in `MnistNet.features`, as the affine map it is, in float64."""
    gain, bias, mean, variance = (
        weights[f"features.{index}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + BATCH_NORM_EPSILON)
    return Affine(scale, bias - scale * mean)


def _pool(g: Graph, x: str, norm: Affine) -> str:
    """Normalise and pool 2×2: pool first, which is cheaper, if that gives the same."""
    if norm.keeps_order:
        return g.affine(g.max_pool(x, 2, 2), *norm)
    return g.max_pool(g.affine(x, *norm), 2, 2)


def _pool_row_pairs(g: Graph, x: str, norm: Affine) -> str:
    """Do the same to rows in pairs: (N, 2·16, 12, 24) to (N, 16, 12, 12)."""
    if not norm.keeps_order:
        x = g.affine(x, np.tile(norm.scale, 2), np.tile(norm.shift, 2))
    x = g.reshape(g.max_pool(x, 1, 2), -1, 2, 16 * 12 * 12)
    x = g.add("ReduceMax", x, g.constant([1], np.int64), keepdims=0)
    x = g.reshape(x, -1, 16, 12, 12)
    return g.affine(x, *norm) if norm.keeps_order else x


def merged_head(conv: Convolution, weights: Mapping[str, NDArray[Any]]) -> tuple[Array, Array]:
    """Merge the last convolution, (32, 3, 3) to (32, 2, 2), with the classifier.

    Returns:
        Weight (288, 10) and bias (10,).
    """
    classifier = weights["classifier.0.weight"].astype(np.float64).reshape(10, 32, 2, 2)
    weight = np.zeros((10, 32, 3, 3))
    for row in range(2):
        for column in range(2):
            # Without `optimize`, so that no BLAS chooses the order of the additions.
            part = np.einsum("ko,oihw->kihw", classifier[:, :, row, column], conv.weight)
            weight[:, :, row : row + 2, column : column + 2] += part
    bias = (classifier.sum((2, 3)) * conv.bias).sum(1) + weights["classifier.0.bias"]
    return weight.reshape(10, -1).T, bias
