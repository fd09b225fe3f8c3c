"""Pictures in, digits out, through a bundle's graphs alone: no torch.

predictor = Predictor()                      # the bundle that the package ships with
predictor.predict("digit.jpg").digit         # a path, bytes, a PIL image or an array
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.runtime import Graph
from mnistnet.errors import PictureError, UsageError
from mnistnet.inference.decoding import MAX_FILE_BYTES, decode, from_array, from_image

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Picture = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.generic]

DEFAULT_BUNDLE = Path(__file__).parent.parent / "models" / "default"
BATCH = 128  # images a call; more do not fit the processor's cache
NO_INK = "there is no ink in the picture"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a picture was read as."""

    digit: int | None  # None where there is no ink
    confidence: float  # the digit's probability; 0 where there is no ink
    sure: bool  # there is ink, and the confidence reaches the predictor's threshold
    probabilities: NDArray[np.float32]  # (10,)
    seen: NDArray[np.uint8]  # (28, 28): what the network was shown
    reason: str | None = None  # why there is no digit

    def second_guess(self) -> tuple[int, float]:
        """Give the next digit, and its probability."""
        runner_up = int(np.argsort(self.probabilities)[-2])
        return runner_up, float(self.probabilities[runner_up])


class Predictor:
    """Reads digits with a bundle. May be used from several threads at once.

    Args:
        bundle: a bundle's folder; the package's own by default.
        threads: how many a call may use.
        threshold: the confidence, 0–1, below which an answer is unsure; by default the bundle's.

    Raises:
        UsageError: the threshold is not between 0 and 1.
        BundleError: there is no bundle, or its manifest is damaged; of a damaged graph, the first
            call that needs it.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None = None,
        *,
        threads: int = 1,
        threshold: float | None = None,
    ) -> None:
        if threshold is not None and not 0 <= threshold <= 1:  # NaN is not, either
            raise UsageError(f"the threshold is {threshold}; it lies between 0 and 1")
        self.bundle = DEFAULT_BUNDLE if bundle is None else Path(bundle)
        self.threads = threads
        self.manifest = read_manifest(self.bundle)
        self.threshold = self.manifest.threshold if threshold is None else threshold

    def predict(self, picture: Picture) -> Prediction:
        """Read one picture.

        Args:
            picture: a path; the bytes of a file; a PIL image; or an array, uint8 (H, W) of grey
                levels or (H, W, 3) of colour. Ink may be dark or bright.

        Raises:
            PictureError: it is not a picture, or of an impossible size.
        """
        grey = _grey(picture)
        probabilities, seen, ink = self._picture_graph.run(grey)
        if not ink:
            return Prediction(None, 0.0, False, probabilities, seen, NO_INK)
        digit = int(probabilities.argmax())
        confidence = float(probabilities[digit])
        return Prediction(digit, confidence, confidence >= self.threshold, probabilities, seen)

    def predict_many(self, pictures: Iterable[Picture]) -> list[Prediction]:
        """Read several pictures, of any sizes. Raises PictureError at the first that is none."""
        return [self.predict(picture) for picture in pictures]

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give probabilities (N, 10) for uint8 (N, 28, 28) that are already as MNIST's are."""
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            raise PictureError(
                f"images are {images.dtype} {images.shape}; give uint8 (N, 28, 28), ink bright"
            )
        starts = range(0, len(images), BATCH)
        results = [self._digit_graph.run(images[i : i + BATCH])[0] for i in starts]
        return np.concatenate([np.empty((0, 10), np.float32), *results])

    @cached_property
    def _picture_graph(self) -> Graph:
        return Graph(self.bundle, "picture.onnx", self.manifest, threads=self.threads)

    @cached_property
    def _digit_graph(self) -> Graph:
        return Graph(self.bundle, "digit.onnx", self.manifest, threads=self.threads)


def _grey(picture: Picture) -> NDArray[np.uint8]:
    """Bring a picture of any kind to grey levels, uint8 (H, W)."""
    if isinstance(picture, bytes):
        return decode(picture, "the picture")
    if isinstance(picture, np.ndarray):
        return from_array(picture)
    if isinstance(picture, Image.Image):
        return from_image(picture)
    path = Path(picture)
    try:
        if not path.is_file():
            raise PictureError(f"{path}: {_why_no_file(path)}")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in it
        raise PictureError(f"{str(path)!r}: cannot be the name of a file") from error
    return decode(content, str(path))


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "is a folder; give a picture in it"
    return "is not a plain file" if path.exists() else "there is no such file"
