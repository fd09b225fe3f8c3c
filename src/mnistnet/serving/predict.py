"""`POST /predict`: pictures in, digits out.

add_predict(app, current)
"""

from __future__ import annotations

import asyncio
import io
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from PIL import Image
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mnistnet.errors import PictureError
from mnistnet.inference.decoding import decode
from mnistnet.serving.limits import MAX_BODY_BYTES, MAX_PARTS, MAX_PIXELS
from mnistnet.serving.monitoring import metrics
from mnistnet.text import first_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.inference import Predictor
    from mnistnet.serving.served import Current

CHUNK_BYTES = 64 * 2**10  # of a multipart body, parsed before others get their turn
BINARY = {"type": "string", "format": "binary"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"One picture, of any type that it says; or 1 to {MAX_PARTS}, multipart. "
        f"At most {MAX_BODY_BYTES >> 20} MiB in all, {MAX_PIXELS // 10**6} megapixels each.",
        "content": {
            **{f"image/{kind}": {"schema": BINARY} for kind in ("png", "jpeg", "webp")},
            "application/octet-stream": {"schema": BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "picture": {
                            "type": "array",
                            "items": BINARY,
                            "minItems": 1,
                            "maxItems": MAX_PARTS,
                        }
                    },
                    "required": ["picture"],
                }
            },
        },
    }
}

Probability = Annotated[float, Field(ge=0, le=1)]
Seen = Annotated[bool, Query(description="whether to answer with what the network was shown, too")]


class Answer(BaseModel):
    """What the model makes of a picture."""

    digit: Annotated[int, Field(ge=0, le=9)] | None = Field(description="null: there is no ink")
    confidence: Probability = Field(description="the digit's probability; 0 where there is no ink")
    sure: bool = Field(description="there is one digit, and the confidence is high enough")
    reason: str | None = Field(description="why there is no digit, or none to be sure of")
    probabilities: list[Probability] = Field(min_length=10, max_length=10)
    hypothesis: str | None = Field(description="what the picture was taken to show")
    seen: str | None = Field(description="on request: base64 of a PNG, 28×28, ink bright")


class Answers(BaseModel):
    """What the model makes of several pictures, in their order."""

    predictions: list[Answer]


class Failure(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="one line")


def add_predict(app: FastAPI, current: Current) -> None:
    """Add the path to an application."""

    @app.post("/predict", openapi_extra=BODY, responses={c: {"model": Failure} for c in (400, 408)})
    async def predict(request: Request, seen: Seen = False) -> Answer | Answers:
        """Read a digit from a picture, whatever its format, size and colours.

        A raw body is one picture; the answer is about that. The parts of a multipart body are
        pictures; if one of them is none, the request is refused.
        """
        served = current.served
        if not request.headers.get("content-type", "").startswith("multipart/"):
            content = await request.body()
            return await current.pool.run(_answer, served.predictor, content, "the picture", seen)
        answers = [
            current.pool.run(_answer, served.predictor, content, f"picture {i}", seen)
            for i, content in enumerate(await _parts(request), 1)
        ]
        return Answers(predictions=await asyncio.gather(*answers))


def _answer(predictor: Predictor, content: bytes, name: str, seen: bool) -> Answer:
    """Decode and predict one picture, called `name` in messages. Computes for milliseconds."""
    prediction = predictor.predict(decode(content, name, max_pixels=MAX_PIXELS))
    metrics().predicted_picture(prediction)
    return Answer(
        digit=prediction.digit,
        confidence=round(min(1.0, prediction.confidence), 6),
        sure=prediction.sure,
        reason=prediction.reason,
        probabilities=[round(float(p), 6) for p in prediction.probabilities.clip(0, 1)],
        hypothesis=prediction.hypothesis,
        seen=_png(prediction.seen) if seen else None,
    )


def _png(image: NDArray[np.uint8]) -> str:
    """Return grey levels (H, W) as a PNG, in base64."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return b64encode(file.getvalue()).decode()


class _Parser(MultiPartParser):
    """Parses in memory, whatever the size; `ended` is whether the last boundary was there."""

    spool_max_size = MAX_BODY_BYTES
    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _parts(request: Request) -> list[bytes]:
    """Return the pictures in a multipart body, or raise PictureError."""
    body = await request.body()

    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), CHUNK_BYTES):
            yield body[start : start + CHUNK_BYTES]
            await asyncio.sleep(0)
        if not parser.ended:
            raise MultiPartException("it is cut off")

    parser = _Parser(request.headers, chunks(), max_files=MAX_PARTS, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise PictureError(
            f"the multipart body is not 1 to {MAX_PARTS} files ({first_line(error)})"
        ) from None
    try:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise PictureError("the multipart body holds no file; send at least one picture")
        return [await file.read() for file in files]
    finally:
        await form.close()
