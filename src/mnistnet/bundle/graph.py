"""An ONNX graph put together node by node, with nothing in it that the caller did not say.

    g = Graph()
    g.add("Softmax", g.linear("images", weight, bias), axis=1, output="probabilities")
    model = g.model("digit", inputs=[…], outputs=[…])

No time, place, producer's version or name out of somebody's source code gets into the model, so
the same calls give the same bytes everywhere.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import ArrayLike, DTypeLike

Array = NDArray[np.float64]

OPSET = 20  # the first with Gelu
IR_VERSION = 10  # the newest that ONNX Runtime 1.20 reads
# Attributes of other types would bring whole tensors or graphs along, with names in them.
PLAIN_ATTRIBUTES = (
    AttributeProto.FLOAT,
    AttributeProto.FLOATS,
    AttributeProto.INT,
    AttributeProto.INTS,
    AttributeProto.STRING,
)


class Tensor(NamedTuple):
    """What goes into or comes out of a graph; a letter in the shape stands for any number."""

    name: str
    dtype: DTypeLike
    shape: tuple[int | str, ...]


class Graph:
    """A graph as it grows. Most methods add a node and give the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._numbers = itertools.count()

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add any node that has one output: of that name, or of a new one."""
        output = output or self._new_name(operator)
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """Add a constant tensor, and give its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name

    def reshape(self, x: str, *shape: int, output: str = "") -> str:
        """Give the values another shape; -1 stands for the number of images."""
        return self.add("Reshape", x, self.constant(shape, np.int64), output=output)

    def conv(self, x: str, weight: Array, bias: Array, **attributes: Any) -> str:
        """Convolve without padding; weight (outputs, inputs, height, width), bias (outputs,)."""
        return self.add("Conv", x, self.constant(weight), self.constant(bias), **attributes)

    def affine(self, x: str, scale: Array, shift: Array) -> str:
        """Scale and shift each channel: as a BatchNorm, which runtimes do in one pass."""
        zeros, ones = np.zeros_like(scale), np.ones_like(scale)
        parameters = (self.constant(values) for values in (scale, shift, zeros, ones))
        return self.add("BatchNormalization", x, *parameters, epsilon=0.0)

    def max_pool(self, x: str, height: int, width: int) -> str:
        """Take the greatest of each height × width pixels, side by side."""
        return self.add("MaxPool", x, kernel_shape=[height, width], strides=[height, width])

    def linear(self, x: str, weight: Array, bias: Array) -> str:
        """Multiply by a matrix (inputs, outputs), and add."""
        return self.add("Gemm", x, self.constant(weight), self.constant(bias))

    def take_over(self, graph: onnx.GraphProto, names: dict[str, str]) -> None:
        """Copy what another graph computes, and nothing else that its maker put there.

        Args:
            graph: of this module's operator set, without functions, and without graphs in nodes.
            names: what its inputs and outputs are called here; all else gets a new name.
        """
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        names = {"": "", **names}  # an empty name is an input that is left out
        for node in graph.node:
            for name in node.input:
                if name not in names:
                    names[name] = self.constant(constants[name], constants[name].dtype)
            for name in node.output:
                if name not in names:
                    names[name] = self._new_name(node.op_type)
            self._nodes.append(_bare_copy(node, names))

    def model(
        self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> onnx.ModelProto:
        """Close the graph, and put it into a model."""
        ends = [[_value_info(tensor) for tensor in tensors] for tensors in (inputs, outputs)]
        return helper.make_model(
            helper.make_graph(self._nodes, name, ends[0], ends[1], self._constants),
            producer_name="mnistnet",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )

    def _new_name(self, operator: str) -> str:
        return f"{operator.lower()}_{next(self._numbers)}"


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Serialise a model, weights and all, to the same bytes each time."""
    return bytes(model.SerializeToString(deterministic=True))


def _bare_copy(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    copy = helper.make_node(
        node.op_type, [names[i] for i in node.input], [names[o] for o in node.output]
    )
    for attribute in sorted(node.attribute, key=lambda a: a.name):
        if attribute.type not in PLAIN_ATTRIBUTES or node.domain:
            raise ValueError(f"{node.op_type}.{attribute.name} cannot be taken over")
        value = helper.get_attribute_value(attribute)
        copy.attribute.append(helper.make_attribute(attribute.name, value))
    return copy


def _value_info(tensor: Tensor) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, dtype, tensor.shape)
