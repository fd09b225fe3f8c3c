"""The application: what is served at which path.

    app = create_app(Current(load(DEFAULT_BUNDLE)))      # an ASGI application, for any server

Whatever goes wrong is answered by `{"error": "one line"}`.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mnistnet import __version__
from mnistnet.errors import BundleError, MnistNetError, PictureError
from mnistnet.serving.batching import BusyError
from mnistnet.serving.limits import Limits, failure
from mnistnet.serving.monitoring import Monitor, exposition
from mnistnet.serving.page_routes import page_router
from mnistnet.serving.predict import Failure, add_predict
from mnistnet.serving.protocol import add_protocol
from mnistnet.serving.tensors import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import APIRouter
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mnistnet.serving.collecting import Collection
    from mnistnet.serving.served import Current

log = logging.getLogger(__name__)
INFER = "/v2/models/{model_name}/infer"
DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def create_app(
    current: Current, collection: Collection | None = None, *, access_log: bool = False
) -> FastAPI:
    """Return the application that serves `current`, whatever that is at each request's start.

    Args:
        current: the model, which may be replaced.
        collection: keeps pictures that were misread; by default nothing does.
        access_log: whether requests are logged that did not fail.
    """
    app = FastAPI(
        title="mnistnet",
        version=__version__,
        summary="Reads handwritten digits.",
        docs_url=None,  # FastAPI's loads scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the metrics are our own
        responses={code: {"model": Failure} for code in (413, 422, 503)},
    )
    app.add_middleware(_Direct, router=app.router, handlers=app.exception_handlers)
    app.add_middleware(Limits)
    app.add_middleware(Monitor, access_log=access_log)
    for error, status in ((PictureError, 400), (BusyError, 503), (BundleError, 500)):
        app.add_exception_handler(error, partial(_failure, status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    add_predict(app, current)
    add_protocol(app, current)
    _add_operations(app, current)
    app.include_router(page_router(current, collection))
    return app


class _Direct:
    """Answers the busiest path without FastAPI's router, which takes longer than a prediction."""

    def __init__(self, app: ASGIApp, *, router: APIRouter, handlers: Mapping[Any, Any]) -> None:
        self._app = app
        self._handlers = handlers
        (self._route,) = [r for r in router.routes if isinstance(r, APIRoute) and r.path == INFER]
        self._models = {INFER.format(model_name=name): name for name in MODELS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._models.get(scope["path"]) if scope["type"] == "http" else None
        if name is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = self._route, {"model_name": name}
        request = Request(scope, receive)
        try:
            response = await self._route.endpoint(request)
        except MnistNetError as error:
            if type(error) not in self._handlers:
                raise
            response = await self._handlers[type(error)](request, error)
        await response(scope, receive, send)


class Health(BaseModel):
    """The service answers, with this model."""

    status: Literal["ok"]
    version: str
    digest: str = Field(description="SHA-256 of the bundle's manifest.json")


def _add_operations(app: FastAPI, current: Current) -> None:
    """Add what those ask for who run or use the service."""

    @app.get("/health")
    async def health() -> Health:
        """Say which model is served."""
        served = current.served
        return Health(status="ok", version=served.version, digest=served.digest)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Return the metrics in Prometheus's text format, or OpenMetrics where that is accepted."""
        content, media_type = exposition(request.headers.get("accept", ""))
        return Response(content, media_type=media_type)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = Environment(loader=PackageLoader("mnistnet.serving"), autoescape=True)
        content = page.get_template("docs.html").render(openapi=app.openapi())
        return HTMLResponse(content, headers={"Content-Security-Policy": DOCS_POLICY})


# ---- errors


async def _failure(status: int, _: Request, error: Exception) -> Response:
    if status == 500:
        log.error("%s", error)
    return failure(status, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = await _failure(error.status_code, request, Exception(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return await _failure(422, request, Exception(f"{where}: {first['msg']}"))
