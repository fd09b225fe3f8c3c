"""`vectors.json`: a few pictures and what the network makes of them, to catch a wrong runtime.

    vectors = parse_vectors(read_file(directory, "vectors.json", manifest), where)

PyTorch computes the answers when the bundle is made; `verify` compares them with what the graphs
compute where they are to run. The pictures are drawn here, so that they are nobody's data.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.bundle.manifest import field, parse_json
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


@dataclass(frozen=True, eq=False)
class PictureVector:
    """A picture, and what its preparation makes of it.

    Attributes:
        picture: uint8 (H, W).
        seen: uint8 (28, 28), what the network is shown.
        ink: whether there is any.
    """

    picture: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    ink: bool


@dataclass(frozen=True, eq=False)
class Vectors:
    """Questions and answers.

    Attributes:
        images: uint8 (N, 28, 28), ink bright on dark.
        probabilities: float64 (N, 10), to six decimals.
        pictures: some of other sizes, on several papers, one without ink.
    """

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    pictures: tuple[PictureVector, ...]

    def to_bytes(self) -> bytes:
        """Give the content of the file; arrays are base64 of their bytes, row by row."""
        pictures = [
            {
                "shape": list(vector.picture.shape),
                "picture": _base64(vector.picture),
                "seen": _base64(vector.seen),
                "ink": vector.ink,
            }
            for vector in self.pictures
        ]
        images = [
            {"image": _base64(image), "probabilities": [round(p, 6) for p in row.tolist()]}
            for image, row in zip(self.images, self.probabilities, strict=True)
        ]
        return json_bytes({"images": images, "pictures": pictures})


def drawn_images() -> NDArray[np.uint8]:
    """Draw digits as MNIST shows them: uint8 (20, 28, 28), ink bright on dark.

    First each digit; then each on top of the next, half as bright: where the network is in doubt,
    a small error of the runtime shows most.
    """
    digits = np.stack([_ink(digit, (28, 28), height=20, pen=1.2) for digit in range(10)])
    doubtful = (digits + np.roll(digits, -1, axis=0)) / 2
    return _grey(np.concatenate([digits, doubtful]))


def drawn_pictures() -> list[NDArray[np.uint8]]:
    """Draw pictures as people send them: dark ink on shaded paper, a tight crop, blank paper."""
    rows, columns = np.mgrid[:61, :47]
    paper = 0.9 - 0.002 * rows - 0.001 * columns
    return [
        _grey(paper - 0.6 * _ink(4, (61, 47), height=34, pen=2)),
        _grey(_ink(7, (23, 19), height=20, pen=1.5)),
        _grey(paper[:24, :32]),
    ]


def parse_vectors(content: bytes, where: object) -> Vectors:
    """Make sense of the file's content; `where` it lies is for the messages.

    Raises:
        BundleError: it is not of this format.
    """
    document = parse_json(content, where)
    images = field(document, "images", where, list)
    pictures = field(document, "pictures", where, list)
    if not images or not pictures:
        raise BundleError(f"{where}: holds no vectors to check with; get the bundle anew")
    return Vectors(
        images=np.stack([_array(image, "image", where, (28, 28)) for image in images]),
        probabilities=np.array([_probabilities(image, where) for image in images]),
        pictures=tuple(_picture(picture, where) for picture in pictures),
    )


def _picture(document: object, where: object) -> PictureVector:
    shape = field(document, "shape", where, list)
    if [type(n) for n in shape] != [int, int] or min(shape) < 1:
        raise BundleError(f"{where}: a picture's shape is not [height, width]; get the bundle anew")
    return PictureVector(
        picture=_array(document, "picture", where, tuple(shape)),
        seen=_array(document, "seen", where, (28, 28)),
        ink=field(document, "ink", where, bool),
    )


def _probabilities(document: object, where: object) -> list[float]:
    row = field(document, "probabilities", where, list)
    if len(row) != 10 or not all(type(p) in (int, float) for p in row):
        raise BundleError(f"{where}: probabilities are not ten numbers; get the bundle anew")
    return row  # type: ignore[no-any-return]


def _array(document: object, name: str, where: object, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        content = base64.b64decode(field(document, name, where, str), validate=True)
        return np.frombuffer(content, np.uint8).reshape(shape)
    except ValueError:
        raise BundleError(
            f"{where}: {name} does not hold {shape[0]} × {shape[1]} pixels; get the bundle anew"
        ) from None


def _base64(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(pixels.tobytes()).decode()


def _ink(digit: int, shape: tuple[int, int], *, height: float, pen: float) -> NDArray[np.float64]:
    """Draw a digit into the middle of a picture with a pen of that radius: 0–1 (H, W)."""
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    return draw_lines([middle + height * (np.array(STROKES[digit]) - 0.5)], shape, pen)


def _grey(brightness: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(255 * brightness).astype(np.uint8)
