"""The Open Inference Protocol v2 over HTTP, as docs/PROTOCOL.md describes it.

add_protocol(app, current)      # /v2, /v2/health/…, /v2/models/{digit or picture}/…
"""

from __future__ import annotations

import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import request_response

from mnistnet import __version__
from mnistnet.serving.batching import MAX_QUEUED
from mnistnet.serving.limits import MAX_BODY_BYTES
from mnistnet.serving.monitoring import metrics
from mnistnet.serving.protocol_openapi import (
    INFER,
    LIVE,
    MODEL,
    MODEL_READY,
    READY,
    SERVER,
    describe,
)
from mnistnet.serving.tensors import (
    MODELS,
    InferRequest,
    InvalidRequestError,
    Model,
    parse_request,
    write_answer,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from numpy.typing import NDArray

    from mnistnet.inference import Predictor
    from mnistnet.serving.batching import Pool
    from mnistnet.serving.served import Current, Served

    Headers = list[tuple[bytes, bytes]]  # names in small letters
    Endpoint = Callable[[Request], Awaitable[Response]]

Result = TypeVar("Result")

JSON_LENGTH = "Inference-Header-Content-Length"
WINDOW_BITS = {"gzip": 31, "deflate": 15}  # zlib's names for the two formats
LARGE_BYTES = 256 * 2**10  # a body whose parsing and answer would keep others waiting
COMPRESS_FROM_BYTES = 1024  # smaller answers fit one packet anyway


class PlainRoute(APIRoute):
    """A route whose function reads the request itself: a third of the time that FastAPI takes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app = request_response(self.endpoint)


class Endpoints:
    """What the protocol's paths do, for the model that is served at each request's start."""

    def __init__(self, current: Current) -> None:
        self._current = current

    async def server(self, _: Request) -> Response:
        """Return the server's name and version, and the extensions that it supports."""
        extensions = ["binary_tensor_data"]
        return _json({"name": "mnistnet", "version": __version__, "extensions": extensions})

    async def live(self, _: Request) -> Response:
        """Say that the server answers."""
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        """Say whether the models can be used: 200, or 503."""
        ready = self._current.served.ready
        return _json({"ready": True}) if ready else _not_ready("the server", {"ready": False})

    async def model_ready(self, request: Request) -> Response:
        """Say whether a model can be used: 200, or 503."""
        model, served = self._find(request)
        status = {"name": model.name, "ready": served.ready}
        return _json(status) if served.ready else _not_ready(model.name, status)

    async def model(self, request: Request) -> Response:
        """Return a model's inputs and outputs; a size of -1 is any."""
        model, served = self._find(request)
        return _json(
            {
                "name": model.name,
                "versions": [served.version],
                "platform": "onnxruntime_onnx",
                "inputs": [asdict(model.input)],
                "outputs": [asdict(tensor) for tensor in model.outputs],
            }
        )

    async def infer(self, request: Request) -> Response:
        """Run a model on the tensors that the body holds."""
        model, served = self._find(request)
        body = await request.body()
        if not served.ready:
            return _not_ready(model.name, {})
        headers: Headers = request.scope["headers"]
        given = dict(headers)
        large = len(body) > LARGE_BYTES or b"content-encoding" in given
        run = self._current.pool.run if large else _run_here
        parsed = await run(_parse, body, headers, model)
        arrays = await _compute(parsed, served, self._current.pool)
        return await run(
            _answer, parsed, arrays, served.version, given.get(b"accept-encoding", b"")
        )

    def _find(self, request: Request) -> tuple[Model, Served]:
        """Return the model that a path names, and what is served now."""
        served, path = self._current.served, request.path_params
        model = MODELS.get(path["model_name"])
        if model is None:
            raise InvalidRequestError(f"there is no such model; there are {', '.join(MODELS)}", 404)
        if path.get("model_version", served.version) != served.version:
            raise InvalidRequestError(f"{model.name}: the only version is {served.version}", 404)
        return model, served


def add_protocol(app: FastAPI, current: Current) -> None:
    """Add the protocol's paths to an application, and the answer to requests that are not of it."""

    @app.exception_handler(InvalidRequestError)
    async def invalid(_: Request, error: InvalidRequestError) -> Response:
        return _json({"error": str(error)}, error.status)

    endpoints = Endpoints(current)
    for path in ("/models/{model_name}", "/models/{model_name}/versions/{model_version}"):
        _add(app, f"{path}/infer", endpoints.infer, INFER)
        _add(app, f"{path}/ready", endpoints.model_ready, MODEL_READY)
        _add(app, path, endpoints.model, MODEL)
    _add(app, "", endpoints.server, SERVER)
    _add(app, "/", endpoints.server, SERVER)
    _add(app, "/health/live", endpoints.live, LIVE)
    _add(app, "/health/ready", endpoints.ready, READY)


def _add(app: FastAPI, path: str, endpoint: Endpoint, answer: dict[str, Any]) -> None:
    """Add a path. FastAPI's own way of including routers takes as long as a prediction."""
    app.router.add_api_route(
        f"/v2{path}",
        endpoint,
        methods=["POST" if path.endswith("/infer") else "GET"],
        tags=["Open Inference Protocol v2"],
        response_model=None,
        response_class=Response,
        route_class_override=PlainRoute,
        include_in_schema=path != "/",
        openapi_extra=describe(path, answer),
    )


def decompress(body: bytes, encoding: str, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return a body without its Content-Encoding.

    Raises:
        InvalidRequestError: it is of another encoding, damaged, or larger than the limit.
    """
    if encoding == "identity":
        return body
    if encoding not in WINDOW_BITS:
        raise InvalidRequestError(f"Content-Encoding is none of {', '.join(WINDOW_BITS)}", 415)
    unpacker = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        content = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise InvalidRequestError(f"the body is not valid {encoding}") from None
    if len(content) > limit_bytes:
        raise InvalidRequestError(f"the body is over {limit_bytes:,} bytes, decompressed", 413)
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidRequestError(f"the body is not one whole {encoding} stream")
    return content


def accepted_encoding(header: str) -> str | None:
    """Return the first encoding in an Accept-Encoding that can be written; None: there is none."""
    for entry in header.lower().split(","):
        name, _, quality = entry.replace(" ", "").partition(";q=")
        if name in WINDOW_BITS and (not quality or quality.strip("0.")):
            return name
    return None


async def _run_here(function: Callable[..., Result], *arguments: object) -> Result:
    return function(*arguments)


def _parse(body: bytes, headers: Headers, model: Model) -> InferRequest:
    """Decompress and check a request; it must not be of more images than may ever wait."""
    lengths = [value for name, value in headers if name == JSON_LENGTH.lower().encode()]
    if len(lengths) > 1 or not all(length.isdigit() and len(length) < 19 for length in lengths):
        raise InvalidRequestError(f"{JSON_LENGTH} is not one number of bytes")
    encoding = dict(headers).get(b"content-encoding", b"identity").decode("latin-1")
    body = decompress(body, encoding.strip().lower())
    parsed = parse_request(body, int(lengths[0]) if lengths else None, model)
    if model.name == "digit" and len(parsed.array) > MAX_QUEUED:
        raise InvalidRequestError(f"a request is of {MAX_QUEUED:,} images at most; split it", 413)
    return parsed


async def _compute(request: InferRequest, served: Served, pool: Pool) -> dict[str, NDArray[Any]]:
    """Return a model's outputs, by name."""
    if request.model.name == "digit":
        outputs = [await served.batcher.probabilities(request.array)]
    else:
        outputs = await pool.run(_read_picture, served.predictor, request.array)
    names = [tensor.name for tensor in request.model.outputs]
    return dict(zip(names, map(np.asarray, outputs), strict=True))


def _read_picture(predictor: Predictor, picture: NDArray[np.uint8]) -> list[Any]:
    """Return the outputs of picture.onnx, and count the prediction."""
    outputs = predictor.run_picture(picture)
    metrics().predicted_picture(predictor.interpret(outputs))
    return outputs


def _answer(
    request: InferRequest, arrays: Mapping[str, NDArray[Any]], version: str, accepted: bytes
) -> Response:
    """Return an answer, compressed if the client accepts that and it is worth it."""
    content, json_bytes = write_answer(request, arrays, version)
    headers = {} if json_bytes is None else {JSON_LENGTH: str(json_bytes)}
    if len(content) >= COMPRESS_FROM_BYTES:
        headers["Vary"] = "Accept-Encoding"
        if encoding := accepted_encoding(accepted.decode("latin-1")):
            packer = zlib.compressobj(1, wbits=WINDOW_BITS[encoding])
            content = packer.compress(content) + packer.flush()
            headers["Content-Encoding"] = encoding
    kind = "application/json" if json_bytes is None else "application/octet-stream"
    return Response(content, headers=headers, media_type=kind)


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _not_ready(what: str, status: dict[str, object]) -> Response:
    response = _json(status | {"error": f"{what} is not ready; try again in a second"}, 503)
    response.headers["Retry-After"] = "1"
    return response
