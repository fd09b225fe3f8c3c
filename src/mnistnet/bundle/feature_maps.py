"""What each layer makes of an image: a graph with the maps of every layer as outputs.

    maps = FeatureMaps(Path("bundle"))
    for layer in maps.of(image):                # uint8 (28, 28), ink bright
        print(layer.name, layer.values.shape)   # 1. Conv 3×3, 1→8; GELU; BatchNorm (8, 26, 26)

`digit.onnx` merges and reorders the layers for speed. This graph computes them one by one, as
`model/architecture.py` lists them. It is made of a bundle's weights when it is needed, so it costs
the bundle nothing; neither torch nor onnx need be installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.bundle import graph_file as onnx
from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.runtime import new_session
from mnistnet.bundle.weights import EPSILON, read_weights
from mnistnet.model.architecture import MEAN, SIDE, STD, layers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from mnistnet.bundle.weights import Weights

ATTRIBUTE_TYPES = {float: ("f", 1), int: ("i", 2), list: ("ints", 7)}  # field, and ONNX's number
CONSTANT_TYPES = {"float32": onnx.FLOAT32, "int64": onnx.INT64}


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """The output of a layer for one image."""

    name: str  # its number, and the layer as the README's table has it
    values: NDArray[np.float32]  # (channels, rows, columns); the ten probabilities are the last


class FeatureMaps:
    """Computes a bundle's network layer by layer. May be used from several threads at once.

    Raises:
        BundleError: there is no bundle, or its manifest or weights are damaged.
    """

    def __init__(self, bundle: Path) -> None:
        weights = read_weights(bundle, read_manifest(bundle))
        self._session = new_session(feature_maps_graph(weights))
        self._names = [end.name for end in self._session.get_outputs()]

    def of(self, image: NDArray[np.uint8]) -> list[LayerMaps]:
        """Return the output of each layer for an image, uint8 (28, 28), ink bright."""
        outputs = self._session.run(None, {"images": image[None]})
        return [LayerMaps(*pair) for pair in zip(self._names, (x[0] for x in outputs), strict=True)]


def feature_maps_graph(weights: Weights) -> bytes:
    """Return the content of an ONNX file: the network, with the output of each layer.

    The input is `images`, uint8 (N, 28, 28). The outputs, float32 (N, channels, rows, columns),
    have the layers' numbers and names; each is taken after what follows the layer: GELU and
    BatchNorm, or softmax. The linear layer is computed as a convolution of the whole map.
    """
    graph = _Graph()
    x = graph.add("Reshape", "images", np.array([-1, 1, SIDE, SIDE]))
    x = graph.add("Cast", x, to=onnx.FLOAT32)
    x = graph.add("Div", graph.add("Sub", x, _float(255 * MEAN)), _float(255 * STD))
    for number, layer in enumerate(layers(), 1):
        window = [layer.kernel, layer.kernel]
        if layer.kind == "pool":
            x = graph.add("MaxPool", x, kernel_shape=window, strides=window)
        else:
            kernels = weights[f"{layer.name}.weight"].reshape(-1, layer.inputs, *window)
            x = graph.add("Conv", x, kernels, weights[f"{layer.name}.bias"])
        if layer.normalised:
            parts = ("weight", "bias", "running_mean", "running_var")
            statistics = [weights[f"{layer.norm}.{part}"] for part in parts]
            x = graph.add("BatchNormalization", graph.add("Gelu", x), *statistics, epsilon=EPSILON)
        if layer.kind == "linear":
            x = graph.add("Softmax", x, axis=1)
        x = graph.add("Identity", x, output=f"{number}. {layer}")
        graph.outputs.append(_end(x, onnx.FLOAT32, (layer.channels, layer.side, layer.side)))
    return graph.encode()


class _Graph:
    """A graph as it grows, node by node, in the messages of ONNX's files."""

    def __init__(self) -> None:
        self.outputs: list[bytes] = []
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def add(
        self, operator: str, *inputs: str | NDArray[Any], output: str = "", **values: Any
    ) -> str:
        """Add a node, and return the name of its output; arrays among its inputs are constants."""
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        attributes = [_attribute(name, value) for name, value in values.items()]
        self._nodes.append(
            onnx.encode(
                onnx.NODE, input=names, output=[output], op_type=[operator], attribute=attributes
            )
        )
        return output

    def encode(self) -> bytes:
        """Return the content of the file."""
        graph = onnx.encode(
            onnx.GRAPH,
            node=self._nodes,
            name=["feature_maps"],
            initializer=self._constants,
            input=[_end("images", onnx.UINT8, (SIDE, SIDE))],
            output=self.outputs,
        )
        opset = onnx.encode(onnx.OPSET_IMPORT, domain=[""], version=[onnx.OPSET])
        return onnx.encode(
            onnx.MODEL, ir_version=[onnx.IR_VERSION], graph=[graph], opset_import=[opset]
        )

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(
            onnx.encode(
                onnx.TENSOR,
                dims=values.shape,
                data_type=[CONSTANT_TYPES[str(values.dtype)]],
                name=[name],
                raw_data=[values.tobytes()],
            )
        )
        return name


def _attribute(name: str, value: Any) -> bytes:
    field, kind = ATTRIBUTE_TYPES[type(value)]
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    return onnx.encode(onnx.ATTRIBUTE, name=[name], type=[kind], **{field: values})


def _float(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)


def _end(name: str, kind: int, sides: Sequence[int]) -> bytes:
    """Describe an input or output of N images."""
    dimensions = [onnx.encode(onnx.DIMENSION, dim_param=["N"])]
    dimensions += [onnx.encode(onnx.DIMENSION, dim_value=[side]) for side in sides]
    shape = onnx.encode(onnx.SHAPE, dim=dimensions)
    tensor = onnx.encode(onnx.TENSOR_TYPE, elem_type=[kind], shape=[shape])
    return onnx.encode(onnx.VALUE, name=[name], type=[onnx.encode(onnx.TYPE, tensor_type=[tensor])])
