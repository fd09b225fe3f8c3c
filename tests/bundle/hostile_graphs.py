"""Graphs that do harm, or are none: what somebody might put in the place of digit.onnx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mnistnet.inference.predictor import DEFAULT_BUNDLE

Change = Callable[[onnx.ModelProto], None]


STEER = "\x1b[31mred\x07\n\u202e"
OPSET = helper.make_opsetid("", 20)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def constant(name: str, value: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value), name)


def graph(
    *nodes: onnx.NodeProto,
    kind: int = FLOAT,
    shape: tuple[int | str, ...] | None = ("N", 10),
    **constants: object,
) -> bytes:
    """Return a graph from `images`, as float32 `x` (N, 28, 28), to `probabilities`."""
    start = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 28, 28])
    end = helper.make_tensor_value_info("probabilities", kind, shape)
    tensors = [constant(name, value) for name, value in constants.items()]
    cast = node("Cast", "images", "x", to=FLOAT)
    made = helper.make_graph([cast, *nodes], "digit", [start], [end], tensors)
    return helper.make_model(made, ir_version=10, opset_imports=[OPSET]).SerializeToString()


def changed(*changes: Change, name: str = "digit.onnx") -> bytes:
    """Return a shipped graph, changed."""
    model = onnx.load(DEFAULT_BUNDLE / name)
    for change in changes:
        change(model)
    return model.SerializeToString()


def more(*tensors: onnx.TensorProto) -> Change:
    return lambda model: model.graph.initializer.extend(tensors)


def first(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.op_type == operator)


def gelu(operator: str, domain: str | None = None) -> Change:
    """Replace the first Gelu by another operator."""

    def change(model: onnx.ModelProto) -> None:
        found = first(model, "Gelu")
        found.op_type = operator
        if domain is not None:
            found.domain = domain

    return change


def conv(name: str, value: object) -> Change:
    """Set an attribute of the first Conv."""

    def change(model: onnx.ModelProto) -> None:
        attributes = first(model, "Conv").attribute
        kept = [a for a in attributes if a.name != name]
        del attributes[:]
        attributes.extend([*kept, helper.make_attribute(name, value)])

    return change


def last_bias(content: bytes) -> Change:
    def change(model: onnx.ModelProto) -> None:
        biases = (t for t in model.graph.initializer if list(t.dims) == [10])
        next(t for t in biases if t.data_type == onnx.TensorProto.FLOAT).raw_data = content

    return change


def renamed(old: str, new: str) -> Change:
    """Rename a tensor everywhere."""

    def change(model: onnx.ModelProto) -> None:
        for end in (*model.graph.input, *model.graph.output):
            end.name = new if end.name == old else end.name
        for n in model.graph.node:
            n.input[:] = [new if name == old else name for name in n.input]
            n.output[:] = [new if name == old else name for name in n.output]

    return change


def data_elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def another_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 21


def same_name_twice(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def squares(n: int) -> list[onnx.NodeProto]:
    """Multiply the matrix m0 by itself, the product by itself, and so on until there are n."""
    return [node("MatMul", f"m{i} m{i}", f"m{i + 1}") for i in range(n - 1)]


def slow() -> bytes:
    """Return a graph that multiplies two matrices a thousand times, for 20 images 1960 × 1960."""
    return graph(
        node("Reshape", "x rows", "y"),
        node("Transpose", "y", "z", perm=[1, 0]),
        node("MatMul", "y z", "m0"),
        *squares(1000),
        node("Softmax", "m999", "probabilities"),
        rows=[-1, 8],
    )


def adding(zeros: str, *nodes: onnx.NodeProto, **constants: object) -> bytes:
    """Return digit.onnx with the largest of the zeros that some nodes compute added to it."""
    model = onnx.load(DEFAULT_BUNDLE / "digit.onnx")
    more(*(constant(name, value) for name, value in constants.items()))(model)
    first(model, "Softmax").output[0] = "before"
    largest = node("ReduceMax", zeros, "largest", keepdims=0)
    model.graph.node.extend([*nodes, largest, node("Add", "before largest", "probabilities")])
    return model.SerializeToString()


def product_of_constants(n: int) -> dict[str, object]:
    """Return a column and a row of n zeros, whose product is n × n."""
    return {"column": np.zeros((n, 1), np.float32), "row": np.zeros((1, n), np.float32)}


def slow_constants() -> bytes:
    """Return digit.onnx with products of constants, 2,000 × 2,000, added."""
    product = node("MatMul", "column row", "m0")
    return adding("m299", product, *squares(300), **product_of_constants(2000))


def endless() -> bytes:
    """Return digit.onnx with an operator of hours added: the largest of 64³ numbers, 301³ times."""
    return adding(
        "most",
        node("Expand", "zero cube", "zeros"),
        node("MaxPool", "zeros", "most", kernel_shape=[64] * 3, pads=[32] * 6),
        zero=np.zeros((1, 1, 1, 1, 1), np.float32),
        cube=[1, 1, 300, 300, 300],
    )


def fails_beyond(n: int) -> bytes:
    """Return digit.onnx with a table in which only batches of up to `n` images have an entry."""
    return adding(
        "entry",
        node("Shape", "images", "shape"),
        node("Gather", "shape zeroth", "length"),
        node("Gather", "table length", "entry"),
        table=np.zeros(n + 1, np.float32),
        zeroth=0,
    )


def cut(model: onnx.ModelProto) -> None:
    """Cut the rows that picture.onnx returns as seen to as many as the digit is."""
    renamed("seen", "whole")(model)
    next(end for end in model.graph.output if end.name == "whole").name = "seen"
    more(constant("from", [0]), constant("axis", [0]))(model)
    model.graph.node.extend(
        [
            node("ArgMax", "probabilities", "to", axis=0, keepdims=1),
            node("Slice", "whole from to axis", "seen"),
        ]
    )


def below_zero(model: onnx.ModelProto) -> None:
    """Return a hypothesis of which there is none, not counted from the end, either."""
    renamed("hypothesis", "kept")(model)
    next(end for end in model.graph.output if end.name == "kept").name = "hypothesis"
    more(constant("many", 99))(model)
    model.graph.node.append(node("Sub", "kept many", "hypothesis"))


SHIPPED = (DEFAULT_BUNDLE / "digit.onnx").read_bytes()
WEIGHT = np.ones((784, 10), np.float32)
ROWS = node("Reshape", "x rows", "y")
SOFTMAX = node("Softmax", "c", "probabilities")
# An outer product of 15,680 × 15,680 numbers, and then twice as many, twelve times.
DOUBLED = [node("Concat", "c" * i + " " + "c" * i, "c" * (i + 1), axis=0) for i in range(1, 13)]
GROWING = graph(
    *(node("Reshape", "x tall", "a"), node("Reshape", "x wide", "b"), node("MatMul", "a b", "c")),
    *DOUBLED,
    node("Softmax", "c" * 13, "probabilities"),
    tall=[-1, 1],
    wide=[1, -1],
)
# What it is → the file's content, and words of the message.
DIGIT: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not of ONNX's IR version"),
    "random": (np.random.default_rng(0).bytes(5000), "is no graph of the format"),
    "cut short": (SHIPPED[:-300], "is cut short"),
    "the other graph": ((DEFAULT_BUNDLE / "picture.onnx").read_bytes(), "has other inputs"),
    "no nodes": (graph(), "cannot be loaded"),
    "another operator set": (changed(another_opset), "operator set 20"),
    "Loop": (changed(gelu("Loop")), "'Loop'"),
    "an operator that steers": (changed(gelu(STEER)), r"'\\x1b\[31mred\\x07\\n"),
    "another domain": (changed(gelu("Gelu", "com.microsoft")), "has a field 7 "),
    "data elsewhere": (changed(data_elsewhere), "has a field 1[34] "),
    "float64": (changed(more(constant("c", 1.0))), "a constant of another type or size"),
    "a huge number": (changed(more(constant("c", 10**9))), "constant out of the format's bounds"),
    "one name twice": (changed(same_name_twice), "two constants of one name"),
    "the lowest number": (changed(more(constant("c", -(2**63)))), "out of the format's bounds"),
    "no groups": (changed(conv("group", 0)), "bounds: 'group'"),
    "no stride": (changed(conv("strides", [0, 0])), "bounds: 'strides'"),
    "huge padding": (changed(conv("pads", [10**6] * 4)), "bounds: 'pads'"),
    "a tensor as attribute": (changed(conv("x", constant("", 1.0))), "has a field 5 "),
    "many nodes": (graph(*(node("Neg", "x", str(i)) for i in range(2001))), "more than 2000"),
    "another input": (changed(renamed("images", "pictures")), "has other inputs or outputs"),
    "an output that steers": (changed(renamed("probabilities", STEER)), "has other inputs"),
    "float16": (
        graph(ROWS, node("Cast", "y", "probabilities", to=TensorProto.FLOAT16), rows=[-1, 10]),
        "bounds: 'to'",
    ),
    "whole numbers": (
        graph(ROWS, node("Cast", "y", "probabilities", to=INT64), kind=INT64, rows=[-1, 10]),
        "has other inputs or outputs",
    ),
    "another rank": (
        graph(node("Abs", "x", "probabilities"), shape=("N", 28, 28)),
        "has other inputs or outputs",
    ),
    "NaN": (changed(last_bias(b"\xff" * 40)), "returns probabilities that are none"),
    "more rows": (
        graph(ROWS, node("Softmax", "y", "probabilities"), rows=[-1, 10]),
        "cannot be run|probabilities of another shape",
    ),
    "no probabilities": (
        graph(ROWS, node("MatMul", "y w", "probabilities"), rows=[-1, 784], w=WEIGHT),
        "returns probabilities that are none",
    ),
    "other probabilities": (
        graph(ROWS, node("MatMul", "y w", "c"), SOFTMAX, rows=[-1, 784], w=WEIGHT),
        "computes other probabilities",
    ),
    "an outer product": (GROWING, "cannot be run"),
    "an outer product of constants": (
        adding("m0", node("MatMul", "column row", "m0"), **product_of_constants(50_000)),
        "cannot be run",
    ),
    "a negative size": (
        graph(node("TopK", "x k", "probabilities"), k=[-1]),
        "a size that is not a positive constant",
    ),
    "whole numbers divided": (
        graph(
            node("Cast", "x", "n", saturate=1, to=INT64),
            node("Mul", "n large", "y"),
            node("Div", "y minus", "z"),
            node("Cast", "z", "probabilities", to=FLOAT),
            large=[65536],
            minus=[-1],
        ),
        "a division that is not of float32",
    ),
    "computed kernels": (
        graph(
            node("Reshape", "x shape", "y"),
            node("Conv", "y y", "probabilities"),
            shape=[1, 1, -1, 28],
        ),
        "kernels are not constant",
    ),
    "sized by its input": (
        graph(node("Shape", "x", "s"), node("Expand", "x s", "probabilities")),
        "a size that is not a positive constant",
    ),
}
