"""What the service's OpenAPI document says of the Open Inference Protocol's paths.

A schema cannot say that a tensor has as many data as its shape says: docs/PROTOCOL.md does.
"""

from __future__ import annotations

from typing import Any

from mnistnet.serving.tensors import MODELS

Schema = dict[str, Any]


def _object(properties: Schema, *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


TEXT, FLAG, SIZE = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
DATA = {"type": "array", "description": "row by row, flat; in a request also nested as the shape"}
INPUT = _object(
    {
        "name": {"enum": [model.input.name for model in MODELS.values()]},
        "datatype": {"enum": ["UINT8"]},
        "shape": _list(SIZE, minItems=3, maxItems=3),
        "data": DATA,
        "parameters": _object({"binary_data_size": SIZE}, "binary_data_size"),
    },
    *("data", "parameters"),
)
OUTPUT = _object(
    {
        "name": {"enum": sorted({t.name for model in MODELS.values() for t in model.outputs})},
        "parameters": _object({"binary_data": FLAG}, "binary_data"),
    },
    "parameters",
)
REQUEST = _object(
    {
        "id": TEXT,
        "inputs": _list(INPUT, minItems=1, maxItems=1),
        "outputs": _list(OUTPUT),
        "parameters": _object({"binary_data_output": FLAG}, "binary_data_output"),
    },
    *("id", "outputs", "parameters"),
)
RESULT = {"name": TEXT, "datatype": TEXT, "shape": _list(SIZE), "data": DATA}
RESULTS = _list(_object(RESULT | {"parameters": _object({})}, "data", "parameters"))
ENDS = _list(_object({"name": TEXT, "datatype": TEXT, "shape": _list({"type": "integer"})}))

EXAMPLE = {  # the shortest: no image
    "id": "42",
    "inputs": [{"name": "images", "datatype": "UINT8", "shape": [0, 28, 28], "data": []}],
}

# The JSON of the answers.
SERVER = _object({"name": TEXT, "version": TEXT, "extensions": _list(TEXT)})
LIVE = _object({"live": FLAG})
READY = _object({"ready": FLAG})
MODEL = _object(
    {"name": TEXT, "versions": _list(TEXT), "platform": TEXT, "inputs": ENDS, "outputs": ENDS}
)
MODEL_READY = _object({"name": TEXT, "ready": FLAG})
INFER = _object({"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": RESULTS}, "id")
ERROR = _object({"error": TEXT})


def describe(path: str, answer: Schema) -> Schema:
    """Return OpenAPI's description of what is at a path, and answers so."""
    infers, names_model = path.endswith("/infer"), "{model_name}" in path
    errors = [404] * names_model + [503] * path.endswith(("/ready", "/infer"))
    errors += [400, 413, 415] * infers
    binary = {"application/octet-stream": {"schema": TEXT | {"format": "binary"}}} if infers else {}
    responses = {200: {"application/json": {"schema": answer}} | binary}
    responses |= {status: {"application/json": {"schema": ERROR}} for status in errors}
    parameters = {"model_name": TEXT | {"enum": list(MODELS)}, "model_version": TEXT}
    description: Schema = {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in parameters.items()
            if f"{{{name}}}" in path
        ],
        "responses": {
            str(status): {"description": "OK" if status == 200 else "refused", "content": content}
            for status, content in responses.items()
        },
    }
    if infers:
        content = {"application/json": {"schema": REQUEST, "example": EXAMPLE}} | binary
        description["requestBody"] = {"required": True, "content": content}
    return description
