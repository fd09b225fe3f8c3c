"""What the service's OpenAPI document says of the Open Inference Protocol's paths.

operation = describe(INFER)      # for FastAPI's `openapi_extra`

A schema cannot say that a tensor has as many data as its shape says: docs/PROTOCOL.md does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mnistnet.serving.tensors import MODELS

Schema = dict[str, Any]


def _object(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


TEXT, FLAG, SIZE = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
INPUT_NAMES = [model.input.name for model in MODELS.values()]
OUTPUT_NAMES = sorted({tensor.name for model in MODELS.values() for tensor in model.outputs})
DATA = {"type": "array", "description": "row by row, flat; in a request also nested as the shape"}
METADATA = _object({"name": TEXT, "datatype": TEXT, "shape": _list({"type": "integer"})})
REQUEST = _object(
    {
        "id": TEXT,
        "inputs": _list(
            _object(
                {
                    "name": {"enum": INPUT_NAMES},
                    "datatype": {"enum": ["UINT8"]},
                    "shape": _list(SIZE, minItems=3, maxItems=3),
                    "data": DATA,
                    "parameters": _object({"binary_data_size": SIZE}, ("binary_data_size",)),
                },
                optional=("data", "parameters"),
            ),
            minItems=1,
            maxItems=1,
        ),
        "outputs": _list(
            _object(
                {
                    "name": {"enum": OUTPUT_NAMES},
                    "parameters": _object({"binary_data": FLAG}, ("binary_data",)),
                },
                optional=("parameters",),
            )
        ),
        "parameters": _object({"binary_data_output": FLAG}, ("binary_data_output",)),
    },
    optional=("id", "outputs", "parameters"),
)
OUTPUT = _object(
    {"name": TEXT, "datatype": TEXT, "shape": _list(SIZE), "data": DATA, "parameters": _object({})},
    optional=("data", "parameters"),
)
BINARY = {"application/octet-stream": {"schema": TEXT | {"format": "binary"}}}


@dataclass(frozen=True)
class Operation:
    """One of the protocol's operations."""

    answer: Schema  # of its JSON
    errors: tuple[int, ...] = ()
    has_body: bool = False


SERVER = Operation(_object({"name": TEXT, "version": TEXT, "extensions": _list(TEXT)}))
LIVE = Operation(_object({"live": FLAG}))
READY = Operation(_object({"ready": FLAG}), errors=(503,))
MODEL = Operation(
    _object(
        {
            "name": TEXT,
            "versions": _list(TEXT),
            "platform": TEXT,
            "inputs": _list(METADATA),
            "outputs": _list(METADATA),
        }
    ),
    errors=(404,),
)
MODEL_READY = Operation(_object({"name": TEXT, "ready": FLAG}), errors=(404, 503))
INFER = Operation(
    _object(
        {"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": _list(OUTPUT)},
        optional=("id",),
    ),
    errors=(400, 404, 413, 415, 503),
    has_body=True,
)


def describe(path: str, operation: Operation) -> Schema:
    """Return OpenAPI's description of an operation at a path."""
    enums = {"model_name": {"enum": list(MODELS)}, "model_version": {}}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": TEXT | more}
        for name, more in enums.items()
        if f"{{{name}}}" in path
    ]
    binary = BINARY if operation.has_body else {}
    answers = {200: {"application/json": {"schema": operation.answer}} | binary}
    error = {"application/json": {"schema": _object({"error": TEXT})}}
    answers |= dict.fromkeys(operation.errors, error)
    body = {"application/json": {"schema": REQUEST}} | BINARY
    return {
        "parameters": parameters,
        "responses": {
            str(status): {"description": "OK" if status == 200 else "refused", "content": content}
            for status, content in answers.items()
        },
    } | ({"requestBody": {"required": True, "content": body}} if operation.has_body else {})
