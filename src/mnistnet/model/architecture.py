"""The network as eight rows of data, and the sizes that follow from them; no torch.

    print(layer_table())

`network.py` makes PyTorch's module of the rows, `bundle/digit.py` the ONNX graph, and
`training/kernels/` its sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

SIDE = 28  # of the input image, in pixels
MEAN = 0.1307  # of the 60,000 training images, ink scaled to 0–1: it is subtracted,
STD = 0.3081  # and the difference divided by their deviation

Kind = Literal["conv", "pool", "linear"]


class Row(NamedTuple):
    """What is chosen about a layer."""

    kind: Kind
    channels: int  # of its output
    kernel: int = 0  # side of the window; 0: the whole map. No padding; a pooling's stride too
    normalised: bool = True  # GELU and BatchNorm follow


ROWS = (
    Row("conv", 8, 3),
    Row("conv", 16, 3),
    Row("pool", 16, 2),
    Row("conv", 32, 3),
    Row("pool", 32, 2),
    Row("conv", 32, 3),
    Row("conv", 32, 2, normalised=False),  # Dropout2d and Flatten follow
    Row("linear", 10, normalised=False),
)


@dataclass(frozen=True)
class Layer:
    """A row with the sizes that follow from the rows before it."""

    kind: Kind
    inputs: int  # channels of the map that it reads
    channels: int  # of its output
    kernel: int  # side of the window
    side_in: int  # of the map that it reads
    side: int  # of its output
    normalised: bool
    name: str  # in the network's `state_dict`
    norm: str  # the name of its BatchNorm there, where it is normalised

    @property
    def weights(self) -> int:
        """Parameters of the convolution or linear map: its kernels and biases."""
        return 0 if self.kind == "pool" else self.channels * (self.inputs * self.kernel**2 + 1)

    @property
    def norm_parameters(self) -> int:
        """Parameters of the BatchNorm: a gain and a bias for each channel."""
        return 2 * self.channels if self.normalised else 0

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolution or linear map for one image; a bias counts as one.

        BatchNorms count none: once trained, they are part of the convolution that follows.
        """
        return self.weights * self.side**2

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the output for one image; what is not normalised is flat."""
        if self.normalised:
            return self.channels, self.side, self.side
        return (self.channels * self.side**2,)

    def __str__(self) -> str:
        """Name the layer and what follows it, as the README's table does."""
        if self.kind == "linear":
            return f"Linear {self.inputs * self.kernel**2}→{self.channels}"
        window = f"{self.kernel}×{self.kernel}, {self.inputs}→{self.channels}"
        layer = f"MaxPool {self.kernel}" if self.kind == "pool" else f"Conv {window}"
        return layer + ("; GELU; BatchNorm" if self.normalised else "; Dropout2d; Flatten")


def layers() -> list[Layer]:
    """Return the eight layers with their sizes, from the image to the ten classes."""
    found: list[Layer] = []
    inputs, side_in, index = 1, SIDE, 0  # index: of the next module in `MnistNet.features`
    for kind, channels, kernel, normalised in ROWS:
        window = kernel or side_in
        side = side_in // window if kind == "pool" else side_in - window + 1
        name = "classifier.0" if kind == "linear" else f"features.{index}"
        norm = f"features.{index + 2}" if normalised else ""
        found.append(Layer(kind, inputs, channels, window, side_in, side, normalised, name, norm))
        inputs, side_in, index = channels, side, index + (3 if normalised else 1)
    return found


def parameter_count() -> int:
    """Count the trainable parameters of the network."""
    return sum(layer.weights + layer.norm_parameters for layer in layers())


def layer_table() -> str:
    """Lay out the layers, a line each: output shape, parameters, multiply-adds of one image."""
    lines = [f"{'layer':<39}{'output':>8}{'parameters':>13}{'multiply-adds':>15}"]
    for layer in layers():
        output = "×".join(map(str, layer.output))
        counts = " + ".join(f"{n:,}" for n in (layer.weights, layer.norm_parameters) if n)
        lines.append(f"{layer!s:<39}{output:>8}{counts:>13}{layer.multiply_adds:>15,}")
    multiply_adds = sum(layer.multiply_adds for layer in layers())
    return "\n".join([*lines, f"{'total':<47}{parameter_count():>13,}{multiply_adds:>15,}"])
