"""Messages of the Open Inference Protocol v2: request bodies → checked arrays → answers' bodies.

    request = parse_request(body, json_bytes, MODELS["digit"])     # uint8 (N, 28, 28)
    body, json_bytes = write_answer(request, outputs, version)     # {"probabilities": (N, 10)}

A body is JSON, or JSON and behind it the tensors that the JSON calls binary; docs/PROTOCOL.md says
what is accepted. Everything in a request is checked before any model sees it: nothing here
computes, and nothing knows HTTP.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from mnistnet.bundle.runtime import SIGNATURES
from mnistnet.errors import MnistNetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DATATYPES = {"uint8": "UINT8", "float": "FP32", "bool": "BOOL", "int64": "INT64"}
DTYPES = {"UINT8": "u1", "FP32": "<f4", "BOOL": "?", "INT64": "<i8"}  # in binary data
# Of Triton's extensions, which would change the meaning of an answer if they were ignored.
UNSUPPORTED = ("classification", "shared_memory_region")


class InvalidRequestError(MnistNetError):
    """A request that is not of the protocol, or asks for what the model does not have.

    Attributes:
        status: the answer's HTTP status, 4xx.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a model, as the protocol describes it."""

    name: str
    datatype: str
    shape: tuple[int, ...]  # -1: any size


@dataclass(frozen=True)
class Model:
    """What a model takes and returns."""

    name: str
    input: Tensor
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class InferRequest:
    """A request for inference, checked."""

    model: Model
    id: str | None  # to be echoed
    array: NDArray[np.uint8]  # of the model's input shape, read-only
    outputs: tuple[tuple[Tensor, bool], ...]  # in the order asked for; True: as binary data


def _model(graph: str) -> Model:
    """Describe a bundle's graph. A scalar has the shape [1], as Triton gives it."""
    ends = [
        Tensor(name, DATATYPES[kind], tuple(-1 if isinstance(d, str) else d for d in shape or [1]))
        for name, kind, shape in SIGNATURES[graph]
    ]
    return Model(graph.removesuffix(".onnx"), ends[0], tuple(ends[1:]))


MODELS = {model.name: model for model in map(_model, SIGNATURES)}


def parse_request(body: bytes, json_bytes: int | None, model: Model) -> InferRequest:
    """Check a request's body.

    Args:
        body: the whole of it, decompressed.
        json_bytes: how much of it is JSON, by the header Inference-Header-Content-Length; None
            without that header: all.
        model: that it is for.

    Raises:
        InvalidRequestError: says what is wrong with it.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {json_bytes}, and the body has {len(body)} bytes"
        )
    text = body if json_bytes is None else body[:json_bytes]
    document = _object(_parse_json(text), "the request")
    identifier = document.get("id")
    if "id" in document and type(identifier) is not str:
        raise InvalidRequestError("id is not a string")
    array = _parse_input(document, memoryview(body)[len(text) :], model.input, text)
    return InferRequest(model, identifier, array, _parse_outputs(document, model))


def write_answer(
    request: InferRequest, arrays: Mapping[str, NDArray[Any]], version: str
) -> tuple[bytes, int | None]:
    """Return an answer's body, and how much of it is JSON where binary data follow, else None.

    Args:
        request: that is answered.
        arrays: the model's outputs, by name.
        version: of the model that computed them.
    """
    outputs: list[dict[str, object]] = []
    binary: list[bytes] = []
    for tensor, as_binary in request.outputs:
        array = np.atleast_1d(arrays[tensor.name])
        array = array.astype(DTYPES[tensor.datatype], order="C", copy=False)
        output = {"name": tensor.name, "datatype": tensor.datatype, "shape": array.shape}
        if as_binary:
            binary.append(array.tobytes())
            outputs.append(output | {"parameters": {"binary_data_size": array.nbytes}})
        else:
            outputs.append(output | {"data": array.ravel()})
    head: dict[str, object] = {"model_name": request.model.name, "model_version": version}
    if request.id is not None:
        head["id"] = request.id
    text = orjson.dumps(head | {"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([text, *binary]), len(text) if binary else None


def _parse_input(
    document: dict[str, Any], binary: memoryview, tensor: Tensor, text: bytes
) -> NDArray[np.uint8]:
    """Return a request's one input, whose data must be as many as its shape says."""
    name = tensor.name
    inputs = document.get("inputs")
    if type(inputs) is not list or len(inputs) != 1:
        raise InvalidRequestError(f"inputs is not a list of one tensor, {name}")
    given = _object(inputs[0], "an input")
    for field in ("name", "datatype"):
        if given.get(field) != (expected := getattr(tensor, field)):
            raise InvalidRequestError(f"the {field} of the one input is {expected}")
    shape = _parse_shape(given.get("shape"), tensor)
    parameters = _parameters(given, name)
    if ("data" in given) == ("binary_data_size" in parameters):
        raise InvalidRequestError(f"{name}: give either data or binary_data_size")
    if "data" in given:
        if binary:
            raise InvalidRequestError(f"{name} is not binary, and bytes follow the JSON")
        data = _json_data(given["data"], shape, name, text)
        return np.frombuffer(data, np.uint8).reshape(shape)
    size_bytes = parameters["binary_data_size"]
    if type(size_bytes) is not int or not size_bytes == len(binary) == math.prod(shape):
        raise InvalidRequestError(
            f"{name}: its shape is {math.prod(shape):.9g} bytes, {len(binary)} follow the JSON,"
            " and binary_data_size is not both"
        )
    return np.frombuffer(binary, np.uint8).reshape(shape)


def _parse_outputs(document: dict[str, Any], model: Model) -> tuple[tuple[Tensor, bool], ...]:
    """Return the outputs asked for, all by default, and for each whether it is to be binary."""
    by_default = _flag(_parameters(document, "the request"), "binary_data_output", False)
    asked_for = document.get("outputs", [])
    if type(asked_for) is not list:
        raise InvalidRequestError("outputs is not a list")
    known = {tensor.name: tensor for tensor in model.outputs}
    outputs: dict[str, tuple[Tensor, bool]] = {}
    for output in asked_for or [{"name": name} for name in known]:
        name = _object(output, "an output").get("name")
        if type(name) is not str or name not in known:
            raise InvalidRequestError(f"an output's name is none of {', '.join(known)}")
        if name in outputs:
            raise InvalidRequestError(f"the output {name} is asked for twice")
        as_binary = _flag(_parameters(output, name), "binary_data", by_default)
        outputs[name] = known[name], as_binary
    return tuple(outputs.values())


def _parse_shape(shape: Any, tensor: Tensor) -> tuple[int, ...]:
    """Return a shape that fits the tensor's."""
    if (
        type(shape) is not list
        or len(shape) != len(tensor.shape)
        or any(type(size) is not int or size < 0 for size in shape)
        or any(size != fixed != -1 for size, fixed in zip(shape, tensor.shape, strict=True))
    ):
        raise InvalidRequestError(
            f"{tensor.name}: shape is not {list(tensor.shape)}, -1 being any size"
        )
    return tuple(shape)


def _json_data(data: Any, shape: tuple[int, ...], name: str, text: bytes) -> bytes:
    """Return whole numbers from 0 to 255 as bytes, from a flat list, or one nested as the shape."""
    if type(data) is not list:
        raise InvalidRequestError(f"{name}: data is not a list")
    nested = data and type(data[0]) is list
    lists = [data]
    for size in shape if nested else (math.prod(shape),):
        if any(type(values) is not list or len(values) != size for values in lists):
            raise InvalidRequestError(
                f"{name}: data is not as much as the shape {list(shape)} says"
            )
        lists = list(chain.from_iterable(lists))
    values: list[Any] = lists
    may_be_bool = b"true" in text or b"false" in text  # looking at each value takes long
    if not (may_be_bool and bool in set(map(type, values))):
        try:
            return bytes(values)  # refuses all but whole numbers from 0 to 255, and is fast
        except (TypeError, ValueError):
            if all(type(v) in (int, float) and 0 <= v <= 255 and v == int(v) for v in values):
                return bytes(map(int, values))  # 7.0 is whole, too
    raise InvalidRequestError(f"{name}: data holds something else than whole numbers from 0 to 255")


def _parse_json(text: bytes) -> Any:
    """Parse JSON in which no object has a name twice."""
    try:
        document = orjson.loads(text)
        # Without escapes, every colon is in a text or behind a name, so written again the document
        # has as many, unless a name was dropped. Only then is the slow parser asked.
        if b"\\" in text or text.count(b":") != orjson.dumps(document).count(b":"):
            json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, TypeError, RecursionError) as error:  # TypeError: too deep to be written
        raise InvalidRequestError(f"the request is not valid JSON ({error})") from None
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("an object has a name twice")


def _object(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidRequestError(f"{what} is not a JSON object")
    return value


def _parameters(owner: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the parameters of a request, an input or an output; the unknown ones are ignored."""
    parameters = _object(owner.get("parameters", {}), f"{what}: parameters")
    for name in UNSUPPORTED:
        if name in parameters:
            raise InvalidRequestError(f"{what}: {name} is not supported")
    return parameters


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidRequestError(f"{name} is not true or false")
    return value
