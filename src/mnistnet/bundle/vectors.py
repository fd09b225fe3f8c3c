"""`vectors.json`: a few pictures and the outputs for them, to find a runtime that errs.

    vectors = parse_vectors(read_file(directory, "vectors.json", manifest), where)

PyTorch computes the outputs when the bundle is made; `verify` compares them with those of the
graphs, on the machine where these are to run. The pictures are drawn, so that they are nobody's
data.
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.bundle.strict_json import decode, parse_json
from mnistnet.data.strokes import draw_lines
from mnistnet.errors import BundleError
from mnistnet.files import json_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Each digit as one line without lifting the pen, from (0, 0) top left to (1, 1) bottom right.
STROKES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.5, 0), (0.8, 0.25), (0.8, 0.75), (0.5, 1), (0.2, 0.75), (0.2, 0.25), (0.5, 0)),
    ((0.3, 0.2), (0.5, 0), (0.5, 1)),
    ((0.2, 0.2), (0.5, 0), (0.8, 0.25), (0.2, 1), (0.8, 1)),
    ((0.2, 0), (0.7, 0.1), (0.7, 0.35), (0.4, 0.45), (0.8, 0.7), (0.6, 1), (0.2, 0.9)),
    ((0.7, 1), (0.7, 0), (0.1, 0.65), (0.9, 0.65)),
    ((0.8, 0), (0.25, 0), (0.25, 0.45), (0.75, 0.6), (0.65, 0.95), (0.2, 1)),
    ((0.65, 0), (0.25, 0.5), (0.3, 0.95), (0.7, 0.95), (0.75, 0.65), (0.25, 0.65)),
    ((0.2, 0), (0.8, 0), (0.4, 1)),
    ((0.75, 0.25), (0.5, 0), (0.25, 0.25), (0.75, 0.75), (0.5, 1), (0.25, 0.75), (0.75, 0.25)),
    ((0.75, 0.3), (0.4, 0.45), (0.3, 0.15), (0.6, 0), (0.75, 0.3), (0.65, 1)),
)  # fmt: skip


@dataclass(frozen=True)
class ImageVector:
    """An image and its probabilities, by PyTorch, to six decimals."""

    image: str  # uint8 (28, 28) in base64
    probabilities: tuple[float, ...]  # (10,)


@dataclass(frozen=True)
class PictureVector:
    """A picture, and what the preparation by PyTorch returns for it."""

    shape: tuple[int, ...]  # (H, W, 4); in format 1 (H, W), of grey levels
    picture: str  # uint8 of that shape in base64
    seen: str  # uint8 (28, 28) in base64
    ink: bool


@dataclass(frozen=True)
class Vectors:
    """Inputs of the graphs with the outputs that they must have; fields are as in the file."""

    images: tuple[ImageVector, ...]
    pictures: tuple[PictureVector, ...]

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return json_bytes(asdict(self))


def parse_vectors(content: bytes, where: object) -> Vectors:
    """Check and convert the file's content; `where` is its path, for the messages.

    Raises:
        BundleError: it is not of this format.
    """
    vectors: Vectors = decode(Vectors, parse_json(content, where), where)
    try:
        if not vectors.images or not vectors.pictures:
            raise ValueError("there are none")
        for image in vectors.images:
            from_base64(image.image)
            if len(image.probabilities) != 10:
                raise ValueError("probabilities are not ten")
        for picture in vectors.pictures:
            from_base64(picture.picture, picture.shape), from_base64(picture.seen)
    except ValueError as error:
        raise BundleError(
            f"{where}: holds no vectors to check with ({error}); get the bundle again"
        ) from None
    return vectors


def to_base64(pixels: NDArray[np.uint8]) -> str:
    """Return pixels row by row as base64."""
    return base64.b64encode(pixels.tobytes()).decode()


def from_base64(text: str, shape: tuple[int, ...] = (28, 28)) -> NDArray[np.uint8]:
    """Return pixels, uint8 of a shape (H, W) or (H, W, 4). Raises ValueError where they are not."""
    pixels = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) != pixels.size:
        raise ValueError(f"{pixels.size} pixels are not of the shape {shape!s:.80}")
    return pixels.reshape(shape)


def drawn_images() -> NDArray[np.uint8]:
    """Draw digits as MNIST shows them: uint8 (20, 28, 28), ink bright on dark.

    First each digit; then each on top of the next, half as bright: where the network is in doubt,
    a small error of the runtime shows most.
    """
    digits = np.stack([_ink(digit, (28, 28), height=20, pen=1.2) for digit in range(10)])
    doubtful = (digits + np.roll(digits, -1, axis=0)) / 2
    return _levels(np.concatenate([digits, doubtful]))


def drawn_pictures() -> list[NDArray[np.uint8]]:
    """Draw pictures (H, W, 4) as people send them.

    Dark ink on shaded paper, a tight crop, blank paper, a white pen on a transparent canvas, and
    red ink on green paper of the same luma.
    """
    rows, columns = np.mgrid[:61, :47]
    paper = 0.9 - 0.002 * rows - 0.001 * columns
    four = _ink(4, (61, 47), height=34, pen=2)
    nine, five = (_ink(digit, (23, 19), height=18, pen=1.5)[..., None] for digit in (9, 5))
    red, green = np.array([0.78, 0.2, 0.2]), np.array([0.2, 0.495, 0.2])
    return [
        _opaque(paper - 0.6 * four),
        _opaque(_ink(7, (23, 19), height=20, pen=1.5)),
        _opaque(paper[:24, :32]),
        _levels(np.concatenate([np.ones((23, 19, 3)), nine], axis=2)),
        _levels(np.concatenate([red * five + green * (1 - five), np.ones((23, 19, 1))], axis=2)),
    ]


def _opaque(brightness: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a grey picture (H, W) as red, green, blue and opacity."""
    return _levels(np.dstack([*[brightness] * 3, np.ones_like(brightness)]))


def _ink(digit: int, shape: tuple[int, int], *, height: float, pen: float) -> NDArray[np.float64]:
    """Draw a digit into the middle of a picture with a pen of that radius: 0–1 (H, W)."""
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    return draw_lines([middle + height * (np.array(STROKES[digit]) - 0.5)], shape, pen)


def _levels(brightness: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(255 * brightness).astype(np.uint8)
