"""The application: what is served at which path.

app = create_app(Current(load(DEFAULT_BUNDLE)))      # an ASGI application, for any server
"""

from __future__ import annotations

import asyncio
import io
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mnistnet import __version__
from mnistnet.errors import PictureError
from mnistnet.serving.batching import BusyError
from mnistnet.serving.page_routes import page_router
from mnistnet.serving.protocol import add_protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.inference import Prediction
    from mnistnet.serving.collecting import Collection
    from mnistnet.serving.served import Current

Probability = Annotated[float, Field(ge=0, le=1)]


class Answer(BaseModel):
    """What the model makes of a picture."""

    digit: int | None = Field(description="the most probable digit; null where there is no ink")
    confidence: Probability
    sure: bool
    reason: str | None = Field(description="why there is no digit, or none to be sure of")
    probabilities: list[Probability] = Field(min_length=10, max_length=10)
    hypothesis: str | None = Field(description="what the picture was taken to show")
    seen: str | None = Field(description="on request: base64 of a PNG, what the network was shown")


def create_app(current: Current, collection: Collection | None = None) -> FastAPI:
    """Return the application that serves `current`, whatever that is at each request's start.

    Args:
        current: the model.
        collection: keeps pictures that were misread; by default nothing does.
    """
    app = FastAPI(title="mnistnet", version=__version__, docs_url=None, redoc_url=None)

    @app.exception_handler(PictureError)
    async def bad_picture(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(HTTPException)  # no such path, or method
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 503, {"Retry-After": "1"})

    @app.post("/predict")
    async def predict(request: Request, seen: bool = False) -> Answer:
        served = current.served
        body = await request.body()
        prediction = await asyncio.to_thread(served.predictor.predict, body)
        return _answer(prediction, seen)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": current.served.version}

    add_protocol(app, current)
    app.include_router(page_router(current, collection))
    return app


def _answer(prediction: Prediction, seen: bool) -> Answer:
    return Answer(
        digit=prediction.digit,
        confidence=prediction.confidence,
        sure=prediction.sure,
        reason=prediction.reason,
        probabilities=prediction.probabilities.tolist(),
        hypothesis=prediction.hypothesis,
        seen=_png(prediction.seen) if seen else None,
    )


def _png(image: NDArray[np.uint8]) -> str:
    """Return grey levels (H, W) as a PNG, in base64."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return b64encode(file.getvalue()).decode()
