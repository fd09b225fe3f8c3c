"""`digit.onnx`: the network rewritten, by exact algebra only, as runtimes compute it fastest.

    model = digit_graph(weights)                        # weights: MnistNet's state_dict, as arrays

One graph, `images` uint8 (N, 28, 28) to `probabilities` float32 (N, 10). What each rewriting
gains is measured by `benchmarks/inference.py`:

- An affine map before a convolution without padding is folded into that convolution: so the
  normalisation of the pixels and four of the six BatchNorms disappear.
- The other two feed a pooling. max(s·x + t) = s·max(x) + t for s ≥ 0, so they move behind it, to
  a quarter of the values.
- Nothing lies between the last convolution and the classifier but dropout, which is off: the two
  linear maps become one.
- The first two convolutions have too few channels, 8 and 16, to fill the widest vector registers.
  They compute two rows of their output at once, as twice the channels.

The algebra is done in float64 and rounded to float32 once, at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import TensorProto

from mnistnet.bundle.graph import GraphBuilder
from mnistnet.bundle.weights import batch_norm
from mnistnet.model.architecture import MEAN, SIDE, STD, layers

if TYPE_CHECKING:
    import onnx

    from mnistnet.bundle.graph import Array
    from mnistnet.bundle.weights import Weights
    from mnistnet.model.architecture import Layer


class Affine(NamedTuple):
    """A BatchNorm with fixed statistics: scale·x + shift, each (channels,)."""

    scale: Array
    shift: Array

    @property
    def keeps_order(self) -> bool:
        """Whether the maximum stays the maximum: a negative scale makes it the minimum."""
        return bool((self.scale >= 0).all())


class Convolution(NamedTuple):
    """A convolution without padding: weight (outputs, inputs, height, width), bias (outputs,)."""

    weight: Array
    bias: Array

    def after(self, affine: Affine) -> Convolution:
        """Fold an affine map of the input into the convolution."""
        return Convolution(
            self.weight * affine.scale[None, :, None, None],
            self.bias + (self.weight.sum((2, 3)) * affine.shift).sum(1),
        )

    def to_row_pairs(self) -> Convolution:
        """Compute the even and the odd rows of the output as channels (2, outputs).

        Output row 2r + p becomes row r of channel group p. The kernel is one row taller, and its
        vertical stride is 2.
        """
        outputs, inputs, height, width = self.weight.shape
        weight = np.zeros((2, outputs, inputs, height + 1, width))
        for p in range(2):
            weight[p, :, :, p : p + height] = self.weight
        weight = weight.reshape(2 * outputs, inputs, height + 1, width)
        return Convolution(weight, np.tile(self.bias, 2))

    def between_row_pairs(self) -> Convolution:
        """Convolve rows in pairs, channels (2, inputs), to rows in pairs, channels (2, outputs)."""
        weight, bias = self.to_row_pairs()
        outputs, inputs, height, width = weight.shape
        weight = weight.reshape(outputs, inputs, height // 2, 2, width)  # row = 2·pair + parity
        weight = weight.transpose(0, 3, 1, 2, 4).reshape(outputs, 2 * inputs, height // 2, width)
        return Convolution(weight, bias)


def digit_graph(weights: Weights) -> onnx.ModelProto:
    """Return the trained network as an ONNX graph."""
    conv1, conv2, conv3, conv4, conv5 = convolutions(weights)
    norm1, norm2, norm3, norm4, norm5, norm6 = batch_norms(weights)
    pool1 = next(layer for layer in layers() if layer.kind == "pool")
    pixels = Affine(np.array([1 / (255 * STD)]), np.array([-MEAN / STD]))

    g = GraphBuilder()
    x = g.add("Reshape", "images", [-1, 1, SIDE, SIDE])
    x = g.add("Cast", x, to=TensorProto.FLOAT)
    x = g.add("Conv", x, *conv1.after(pixels).to_row_pairs(), strides=[2, 1])  # (N, 2·8, 13, 26)
    row_pairs = conv2.after(norm1).between_row_pairs()
    x = g.add("Conv", g.add("Gelu", x), *row_pairs)  # (N, 2·16, 12, 24)
    x = _pool_row_pairs(g, g.add("Gelu", x), norm2, pool1)  # (N, 16, 12, 12)
    x = g.add("Conv", g.add("Gelu", x), *conv3.after(norm3))  # (N, 32, 10, 10)
    x = _pool(g, g.add("Gelu", x), norm4)  # (N, 32, 5, 5)
    x = g.add("Conv", g.add("Gelu", x), *conv4.after(norm5))  # (N, 32, 3, 3)
    weight, bias = merged_head(conv5.after(norm6), weights)
    x = g.add("Reshape", g.add("Gelu", x), [-1, len(weight)])
    x = g.add("Gemm", x, weight, bias)  # (N, 10)
    g.add("Softmax", x, axis=1, output="probabilities")
    return g.model("digit.onnx")


def convolutions(weights: Weights) -> list[Convolution]:
    """Return the network's convolutions from first to last, in float64."""
    names = [layer.name for layer in layers() if layer.kind == "conv"]
    return [
        Convolution(*(weights[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias")))
        for name in names
    ]


def batch_norms(weights: Weights) -> list[Affine]:
    """Return the network's BatchNorms from first to last, as affine maps in float64."""
    return [Affine(*batch_norm(layer.norm, weights)) for layer in layers() if layer.normalised]


def _pool(g: GraphBuilder, x: str, norm: Affine) -> str:
    """Normalise and pool 2×2: pool first, which is cheaper, if that gives the same."""
    if norm.keeps_order:
        return g.affine(g.max_pool(x, 2, 2), *norm)
    return g.max_pool(g.affine(x, *norm), 2, 2)


def _pool_row_pairs(g: GraphBuilder, x: str, norm: Affine, pool: Layer) -> str:
    """Normalise and pool rows in pairs: (N, 2·16, 12, 24) to (N, 16, 12, 12)."""
    if not norm.keeps_order:
        x = g.affine(x, np.tile(norm.scale, 2), np.tile(norm.shift, 2))
    channels, height, width = pool.output
    x = g.add("Reshape", g.max_pool(x, 1, 2), [-1, 2, channels * height * width])
    x = g.add("ReduceMax", x, [1], keepdims=0)
    x = g.add("Reshape", x, [-1, channels, height, width])
    return g.affine(x, *norm) if norm.keeps_order else x


def merged_head(conv: Convolution, weights: Weights) -> tuple[Array, Array]:
    """Merge the last convolution, (32, 3, 3) to (32, 2, 2), with the classifier.

    Returns:
        Weight (288, 10) and bias (10,).
    """
    head = layers()[-1]
    shape = (head.channels, head.inputs, head.kernel, head.kernel)
    classifier = weights[f"{head.name}.weight"].astype(np.float64).reshape(shape)
    _, inputs, height, width = conv.weight.shape
    weight = np.zeros((head.channels, inputs, head.kernel + height - 1, head.kernel + width - 1))
    for row in range(head.kernel):
        for column in range(head.kernel):
            # Without `optimize`, so that no BLAS chooses the order of the additions.
            part = np.einsum("ko,oihw->kihw", classifier[:, :, row, column], conv.weight)
            weight[:, :, row : row + height, column : column + width] += part
    bias = (classifier.sum((2, 3)) * conv.bias).sum(1) + weights[f"{head.name}.bias"]
    return weight.reshape(head.channels, -1).T, bias
