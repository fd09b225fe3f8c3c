"""The page to draw on, over HTTP: its files, and what it asks for besides predictions.

app.include_router(page_router(current, collection=None))

GET /             the page; its other files are next to it
GET /about.json   what there is to say of the model
GET /report.html  what was measured of it
POST /maps        784 grey levels → what each layer makes of them
POST /collect/7   a picture that was misread, and is a 7
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from mnistnet.bundle.feature_maps import FeatureMaps
from mnistnet.errors import PictureError
from mnistnet.files import json_bytes
from mnistnet.model.architecture import SIDE
from mnistnet.report.contents import as_document
from mnistnet.serving.about import about
from mnistnet.serving.collecting import Collection, CollectionFullError
from mnistnet.serving.predict import BINARY, Failure
from mnistnet.serving.report_page import report_page

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnistnet.serving.batching import Pool
    from mnistnet.serving.served import Current, Served

PAGE = Path(__file__).parent / "page"
TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json"}
# Nothing but the page's own files, and the pictures that it makes itself.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; manifest-src"
    " 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors"
    " 'none'"
)
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MODELS_KEPT = 2  # what was computed of the model in use, and of the one before it
Digit = Annotated[int, PathParameter(ge=0, le=9)]


class LayerAnswer(BaseModel):
    """What a layer makes of an image."""

    name: str
    shape: list[int] = Field(description="maps, rows, columns")
    values: str = Field(description="base64 of float32, least byte first, in that shape")


def page_router(current: Current, collection: Collection | None = None) -> APIRouter:
    """Return the routes of the page; pictures are collected only where there is a collection."""
    router = APIRouter()
    for file in sorted(PAGE.iterdir()):
        _add_file(router, file)

    @router.get("/about.json", include_in_schema=False)
    def about_json() -> Response:
        return _response(_about(current.served, collection is not None), "application/json")

    @router.get("/report.html", include_in_schema=False)
    def report_html() -> Response:
        return _response(_report(current.served), "text/html; charset=utf-8", REPORT_POLICY)

    @router.post("/maps", responses=_problems(400), openapi_extra=_body("application/octet-stream"))
    async def maps(request: Request) -> list[LayerAnswer]:
        """Compute what each layer makes of 28 rows of 28 grey levels, ink bright."""
        served, body = current.served, await request.body()
        if len(body) != SIDE**2:
            raise PictureError(f"the body is of {len(body)} bytes; send {SIDE**2} grey levels")
        image = np.frombuffer(body, np.uint8).reshape(SIDE, SIDE)
        return await current.pool.run(_maps, served, image)

    if collection is not None:
        _add_collecting(router, collection, current.pool)
    return router


def _add_collecting(router: APIRouter, collection: Collection, pool: Pool) -> None:
    @router.post(
        "/collect/{digit}",
        status_code=204,
        responses=_problems(400, 415, 507),
        openapi_extra=_body("image/png"),
    )
    async def collect(request: Request, digit: Digit) -> None:
        """Keep a picture that was misread, with the digit that it shows."""
        # Pages of other sites may not send this type; see "simple requests" of Fetch.
        if request.headers.get("content-type") != "image/png":
            raise HTTPException(415, "the picture must be sent as image/png")
        try:
            await pool.run(collection.add, digit, await request.body())
        except CollectionFullError as error:
            raise HTTPException(507, str(error)) from error


def _add_file(router: APIRouter, file: Path) -> None:
    content, kind = file.read_bytes(), TYPES.get(file.suffix) or guess_type(file.name)[0]

    async def page_file() -> Response:
        return _response(content, kind or "application/octet-stream")

    for path in ("/", f"/{file.name}") if file.name == "index.html" else (f"/{file.name}",):
        router.add_api_route(path, page_file, include_in_schema=False)


@lru_cache(MODELS_KEPT)
def _about(served: Served, collects: bool) -> bytes:
    document = about(served.predictor.bundle, served.version, collects=collects)
    return json_bytes(as_document(document))


@lru_cache(MODELS_KEPT)
def _report(served: Served) -> bytes:
    return report_page(served.predictor.bundle)


@lru_cache(MODELS_KEPT)
def _feature_maps(served: Served) -> FeatureMaps:
    return FeatureMaps(served.predictor.bundle)


def _maps(served: Served, image: NDArray[np.uint8]) -> list[LayerAnswer]:
    return [
        LayerAnswer(
            name=layer.name,
            shape=list(layer.values.shape),
            values=b64encode(layer.values.astype("<f4").tobytes()).decode(),
        )
        for layer in _feature_maps(served).of(image)
    ]


def _response(content: bytes, kind: str, policy: str = POLICY) -> Response:
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(content, media_type=kind, headers=headers)


def _body(kind: str) -> dict[str, Any]:
    """Describe a request's body, for OpenAPI."""
    return {"requestBody": {"required": True, "content": {kind: {"schema": BINARY}}}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers to requests that are refused, for OpenAPI."""
    return {status: {"model": Failure} for status in statuses}
