"""An ONNX graph built node by node; the same calls give the same bytes everywhere.

    g = GraphBuilder()
    g.add("Softmax", g.add("Gemm", "images", weight, bias), axis=1, output="probabilities")
    model = g.model("digit.onnx")

Nothing gets into the model that the caller does not pass: no time, path or version of an exporter,
and no name from source code.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mnistnet.bundle.graph_file import IR_VERSION, OPSET
from mnistnet.bundle.runtime import SIGNATURES

if TYPE_CHECKING:
    import onnx
    from numpy.typing import ArrayLike

Array = NDArray[np.float64]

PLAIN = (int, float, bytes, list)  # types of attributes


class GraphBuilder:
    """A graph as it grows. Most methods add a node and return the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._numbers = itertools.count()

    def add(self, operator: str, *inputs: ArrayLike, output: str = "", **attributes: Any) -> str:
        """Add a node with one output.

        Args:
            operator: of ONNX.
            inputs: names of tensors; or numbers, which become constants, float32 or int64.
            output: its name; a new one if it is left out.
            attributes: of the node.
        """
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        output = output or self._new_name(operator)
        self._nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def affine(self, x: str, scale: Array, shift: Array) -> str:
        """Scale and shift each channel: as a BatchNorm, which runtimes compute in one pass."""
        zeros, ones = np.zeros_like(scale), np.ones_like(scale)
        return self.add("BatchNormalization", x, scale, shift, zeros, ones, epsilon=0.0)

    def max_pool(self, x: str, height: int, width: int) -> str:
        """Take the maximum of each window of height × width pixels, without overlap."""
        return self.add("MaxPool", x, kernel_shape=[height, width], strides=[height, width])

    def copy_nodes(self, graph: onnx.GraphProto, names: dict[str, str]) -> None:
        """Copy what another graph computes, without the other information that is in it.

        Args:
            graph: of the operator set OPSET, without functions.
            names: of its inputs and outputs in this graph; all else gets a new name.

        Raises:
            ValueError: a node has an attribute that may hold more than numbers or text.
        """
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        names = {"": "", **names}  # an empty name is an optional input that is left out
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            # Tensors and graphs among the attributes have names from source code in them.
            if node.domain or not all(isinstance(a, PLAIN) for a in attributes.values()):
                raise ValueError(f"a node {node.op_type} of the exported graph cannot be copied")
            for name in node.input:
                if name not in names:
                    names[name] = self._constant(constants[name], constants[name].dtype)
            for name in node.output:
                if name not in names:
                    names[name] = self._new_name(node.op_type)
            inputs, outputs = ([names[n] for n in ends] for ends in (node.input, node.output))
            self._nodes.append(helper.make_node(node.op_type, inputs, outputs, **attributes))

    def model(self, file: str) -> onnx.ModelProto:
        """Return the finished graph as a model with the input and outputs of a bundle's file."""
        source, *outputs = (
            helper.make_tensor_value_info(name, TensorProto.DataType.Value(kind.upper()), shape)
            for name, kind, shape in SIGNATURES[file]
        )
        name = file.removesuffix(".onnx")
        return helper.make_model(
            helper.make_graph(self._nodes, name, [source], outputs, self._constants),
            producer_name="mnistnet",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )

    def _constant(self, values: ArrayLike, dtype: np.dtype[Any] | None = None) -> str:
        array = np.array(values, order="C")
        dtype = dtype or np.dtype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array.astype(dtype), name))
        return name

    def _new_name(self, operator: str) -> str:
        return f"{operator.lower()}_{next(self._numbers)}"


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Serialise a model with its weights, to the same bytes each time."""
    return bytes(model.SerializeToString(deterministic=True))
