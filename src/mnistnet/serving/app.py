"""The application: what is served at which path.

app = create_app(Current(load(DEFAULT_BUNDLE)))      # an ASGI application, for any server
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from mnistnet import __version__
from mnistnet.errors import PictureError
from mnistnet.serving.batching import BusyError
from mnistnet.serving.protocol import add_protocol

if TYPE_CHECKING:
    from mnistnet.inference import Prediction
    from mnistnet.serving.served import Current

Probability = Annotated[float, Field(ge=0, le=1)]


class Answer(BaseModel):
    """What the model makes of a picture."""

    digit: int | None = Field(description="the most probable digit; null where there is no ink")
    confidence: Probability
    sure: bool
    reason: str | None = Field(description="why there is no digit, or none to be sure of")
    probabilities: list[Probability] = Field(min_length=10, max_length=10)


def create_app(current: Current) -> FastAPI:
    """Return the application that serves `current`, whatever that is at each request's start."""
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
    async def predict(request: Request) -> Answer:
        served = current.served
        body = await request.body()
        prediction = await asyncio.to_thread(served.predictor.predict, body)
        return _answer(prediction)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "version": current.served.version}

    add_protocol(app, current)
    return app


def _answer(prediction: Prediction) -> Answer:
    return Answer(
        digit=prediction.digit,
        confidence=prediction.confidence,
        sure=prediction.sure,
        reason=prediction.reason,
        probabilities=prediction.probabilities.tolist(),
    )
