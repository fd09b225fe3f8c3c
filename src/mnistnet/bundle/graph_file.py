"""A graph's file, checked before a runtime sees it; `onnx` need not be installed.

    check_graph(content)

    content = encode(MODEL, ir_version=[IR_VERSION], graph=[graph], opset_import=[opset])

ONNX's files are protocol buffers: a message is a row of fields, each a number, four bytes, or bytes
that may be a message again. Only the fields, operators and values below may be in one. So there
are no loops, branches and functions, no operators of another maker, and no data in other files.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

OPERATORS = frozenset(
    b"""
    Abs Add And ArgMax AveragePool BatchNormalization Cast Clip Concat Conv CumSum Div Equal Expand
    Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual Less Log MatMul Max MaxPool Min
    Mul Neg Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Reshape Resize Round
    ScatterElements Shape Slice Softmax Squeeze Sub TopK Transpose Unsqueeze Where
    """.split()
)
IR_VERSION = 10  # the newest that ONNX Runtime 1.20 reads
OPSET = 20  # the first with Gelu
FLOAT32, UINT8, INT64, BOOL = 1, 2, 7, 9  # ONNX's numbers of types
TYPES = {FLOAT32: 4, UINT8: 1, INT64: 8, BOOL: 1}  # → bytes of a value
MAX_INTEGER, TAKE_ALL = 65_536, 2**63 - 1  # of a constant; the end of a slice that takes all
ATTRIBUTE_INTEGERS = range(-8, 65)
POSITIVE = (b"kernel_shape", b"strides", b"dilations", b"group")  # runtimes divide by them

SIZED = (b"Expand", b"TopK")  # their second input is a size: runtimes fall over one below zero
INTEGERS = (b"ArgMax", b"Shape")  # return int64, whatever they read
TRUTHS = (b"And", b"Equal", b"Greater", b"GreaterOrEqual", b"Less")

NUMBER, BYTES, FLOAT = 0, 2, 5  # wire types: how a field's value is written


class Field(NamedTuple):
    """A field that a message may have, and how often at most."""

    name: str
    wire_type: int
    most: int = 1


# Each message's fields, by their number in onnx.proto.
MODEL = {
    1: Field("ir_version", NUMBER),
    2: Field("producer_name", BYTES),
    7: Field("graph", BYTES),
    8: Field("opset_import", BYTES),
}
OPSET_IMPORT = {1: Field("domain", BYTES), 2: Field("version", NUMBER)}
GRAPH = {
    1: Field("node", BYTES, 2000),
    2: Field("name", BYTES),
    5: Field("initializer", BYTES, 500),
    11: Field("input", BYTES),
    12: Field("output", BYTES, 5),
}
NODE = {
    1: Field("input", BYTES, 16),
    2: Field("output", BYTES, 16),
    4: Field("op_type", BYTES),
    5: Field("attribute", BYTES, 16),
}
ATTRIBUTE = {
    1: Field("name", BYTES),
    2: Field("f", FLOAT),
    3: Field("i", NUMBER),
    4: Field("s", BYTES),
    8: Field("ints", NUMBER, 16),
    20: Field("type", NUMBER),
}
TENSOR = {
    1: Field("dims", NUMBER, 8),
    2: Field("data_type", NUMBER),
    8: Field("name", BYTES),
    9: Field("raw_data", BYTES),
}
# Of an input or output, as they are written; what is read of them, the runtime checks.
VALUE = {1: Field("name", BYTES), 2: Field("type", BYTES)}
TYPE = {1: Field("tensor_type", BYTES)}
TENSOR_TYPE = {1: Field("elem_type", NUMBER), 2: Field("shape", BYTES)}
SHAPE = {1: Field("dim", BYTES)}
DIMENSION = {1: Field("dim_value", NUMBER), 2: Field("dim_param", BYTES)}


def check_graph(content: bytes) -> None:
    """Check that a file holds a graph of the format, as far as that shows without running it.

    Raises:
        ValueError: says what is in it that the format does not have.
    """
    model = _fields(content, MODEL)
    opsets = [_fields(opset, OPSET_IMPORT) for opset in model["opset_import"]]
    if model["ir_version"] != [IR_VERSION] or opsets != [{"domain": [b""], "version": [OPSET]}]:
        raise ValueError(f"is not of ONNX's IR version {IR_VERSION} and operator set {OPSET}")
    for graph in model["graph"]:
        _check_graph(_fields(graph, GRAPH))


def _check_graph(graph: dict[str, list[Any]]) -> None:
    nodes = [_fields(node, NODE) for node in graph["node"]]
    operators = {b"".join(node["op_type"]) for node in nodes}
    if foreign := sorted(operators - OPERATORS):
        raise ValueError(f"has an operator that the format does not: {_text(foreign[0])}")
    for attribute in {attribute for node in nodes for attribute in node["attribute"]}:
        _check_attribute(attribute)
    constants = dict(map(_check_constant, graph["initializer"]))
    if len(constants) < len(graph["initializer"]):
        raise ValueError("has two constants of one name")
    types = {name: constant.type for name, constant in constants.items()}
    for node in nodes:
        operator, second = node["op_type"][0], constants.get(b"".join(node["input"][1:2]))
        if operator in SIZED and (second is None or second.lowest < 1):
            raise ValueError("has a size that is not a positive constant")
        if operator == b"Conv" and second is None:  # a computed one could be as large as the map
            raise ValueError("has a convolution whose kernels are not constant")
        # The processor stops a program that divides the lowest integer by -1.
        if operator == b"Div" and types.get(b"".join(node["input"][:1])) != FLOAT32:
            raise ValueError("has a division that is not of float32")
        types |= zip(node["output"], [_type(node, types), INT64], strict=False)


def _type(node: dict[str, list[Any]], types: dict[bytes, int]) -> int:
    """Return the type of a node's first output, 0 where its input is not known (yet)."""
    operator = node["op_type"][0]
    if operator == b"Cast":
        attributes = [_fields(attribute, ATTRIBUTE) for attribute in node["attribute"]]
        to = [number for a in attributes if a["name"] == [b"to"] for number in a["i"]]
        return int(to[0]) if len(to) == 1 else 0
    if operator in INTEGERS + TRUTHS:
        return INT64 if operator in INTEGERS else BOOL
    copied = node["input"][operator == b"Where" :][:1]
    return types.get(b"".join(copied), 0)


def _check_attribute(message: bytes) -> None:
    attribute = _fields(message, ATTRIBUTE)
    name = b"".join(attribute["name"])
    allowed = TYPES if name == b"to" else ATTRIBUTE_INTEGERS[9 if name in POSITIVE else 0 :]
    if not all(_signed(number) in allowed for number in attribute["i"] + attribute["ints"]):
        raise ValueError(f"has an attribute out of the format's bounds: {_text(name)}")


class Constant(NamedTuple):
    """What is checked of a constant: its type, and its lowest number, 0 but for int64."""

    type: int
    lowest: int


def _check_constant(message: bytes) -> tuple[bytes, Constant]:
    """Return the constant's name, and what else is checked of it."""
    tensor = _fields(message, TENSOR)
    name, raw_data = (b"".join(tensor[part]) for part in ("name", "raw_data"))
    size = math.prod(tensor["dims"])
    if [TYPES.get(kind, -1) * size for kind in tensor["data_type"]] != [len(raw_data)]:
        raise ValueError("has a constant of another type or size than the format allows")
    if tensor["data_type"] != [INT64] or not size:
        return name, Constant(tensor["data_type"][0], 0)
    numbers = np.frombuffer(raw_data, "<i8")
    numbers = numbers[numbers != TAKE_ALL]
    if (numbers < -MAX_INTEGER).any() or (numbers > MAX_INTEGER).any():
        raise ValueError("has a constant out of the format's bounds")
    return name, Constant(INT64, int(numbers.min(initial=TAKE_ALL)))


def _fields(message: bytes, allowed: dict[int, Field]) -> dict[str, list[Any]]:
    """Split a message into its fields: the values of each by name, numbers or bytes."""
    found: dict[str, list[Any]] = {field.name: [] for field in allowed.values()}
    position = 0
    while position < len(message):
        key, position = _number(message, position)
        field = allowed.get(key >> 3)
        if field is None or field.wire_type != key & 7:
            raise ValueError(f"has a field {key >> 3} where the format has none")
        number, position = (4, position) if key & 7 == FLOAT else _number(message, position)
        value: int | bytes = number
        if key & 7 != NUMBER:  # the number is the size of what follows
            value = message[position : position + number]
            position += number
        values = found[field.name]
        values.append(value)
        if position > len(message) or len(values) > field.most:
            raise ValueError(f"is cut short, or has more than {field.most} of {field.name}")
    return found


def encode(allowed: dict[int, Field], **values: Iterable[float | str | bytes]) -> bytes:
    """Return a message of fields, each with the values that are given by its name."""
    message = bytearray()
    for number, field in allowed.items():
        for value in values.get(field.name, ()):
            message += _encode_number(number << 3 | field.wire_type)
            if isinstance(value, str | bytes):
                content = value.encode() if isinstance(value, str) else value
                message += _encode_number(len(content)) + content
            elif field.wire_type == FLOAT:
                message += struct.pack("<f", value)
            else:
                message += _encode_number(int(value) % 2**64)
    return bytes(message)


def _encode_number(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _encode_number(rest) if rest else bytes([low])


def _number(message: bytes, position: int) -> tuple[int, int]:
    """Read a number of up to 64 bits, seven in a byte, the lowest first; return its end too."""
    number = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            raise ValueError("is cut short")
        byte = message[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise ValueError("holds a number of over 64 bits")


def _text(name: bytes) -> str:
    return repr(name.decode("ascii", "replace"))[:40]


def _signed(number: int) -> int:
    return number - (number >> 63 << 64)
