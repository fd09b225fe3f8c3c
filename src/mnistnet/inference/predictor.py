"""Pictures → digits, through a bundle's graphs alone: no torch.

predictor = Predictor()                      # the bundle that the package ships with
predictor.predict("digit.jpg").digit         # a path, bytes, a PIL image or an array
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.runtime import Graph
from mnistnet.errors import PictureError, UsageError
from mnistnet.inference.decoding import on_white, to_rgba

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

    from mnistnet.inference.decoding import Picture

DEFAULT_BUNDLE = Path(__file__).parent.parent / "models" / "default"
BATCH_SIZE = 128  # images; the activations of more do not fit the processor's cache
NO_INK = "there is no ink in the picture"
SEVERAL = "there is more than one digit in the picture"
# What a picture is taken to show, by the index that the graph returns; see `mnistnet.picture`.
HYPOTHESES = (
    "ink of the clearer kind, border included",
    "ink unlike the border's paper, border included",
    "dark ink",
    "bright ink",
    "ink unlike the border's paper",
    "ink darker than the paper near it",
    "ink brighter than the paper near it",
    "dark ink on the largest bright region",
    "bright ink on the largest bright region",
    "dark ink on the largest dark region",
    "bright ink on the largest dark region",
    "framed as MNIST's, on paper that the border continues",
    "ink of the clearer kind, its gaps filled",
    "framed as MNIST's, specks removed",
    "framed as MNIST's, thin lines removed",
)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network makes of a picture."""

    digit: int | None  # the most probable one; None where there is no ink
    confidence: float  # the digit's probability; 0 where there is no ink
    sure: bool  # there is one digit, and the confidence reaches the predictor's threshold
    probabilities: NDArray[np.float32]  # (10,)
    seen: NDArray[np.uint8]  # (28, 28), what the network was shown
    reason: str | None = None  # why there is no digit, or none to be sure of
    hypothesis: str | None = None  # what the picture was taken to show, for `seen`

    def second_guess(self) -> tuple[int, float]:
        """Return the second most probable digit, and its probability."""
        runner_up = int(np.argsort(self.probabilities)[-2])
        return runner_up, float(self.probabilities[runner_up])


class Predictor:
    """Reads digits with a bundle. May be used from several threads at once.

    Args:
        bundle: a bundle's folder; the package's own by default.
        threads: how many a call may use.
        threshold: the confidence, 0–1, below which a prediction is unsure; by default the bundle's.
        budget_s: how long all runs of one of the graphs may take together, wall time.

    Raises:
        UsageError: the threshold is not between 0 and 1.
        BundleError: there is no bundle, or its manifest is damaged. A damaged graph is noticed by
            the first call that needs it.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None = None,
        *,
        threads: int = 1,
        threshold: float | None = None,
        budget_s: float = math.inf,
    ) -> None:
        if threshold is not None and not 0 <= threshold <= 1:  # NaN is not, either
            raise UsageError(f"the threshold is {threshold}; it lies between 0 and 1")
        self.bundle = DEFAULT_BUNDLE if bundle is None else Path(bundle)
        self._load = partial(Graph, threads=threads, budget_s=budget_s)
        self.manifest = read_manifest(self.bundle)
        self.threshold = self.manifest.threshold if threshold is None else threshold
        self._graphs: dict[str, Graph] = {}
        self._lock = Lock()

    def predict(self, picture: Picture) -> Prediction:
        """Predict the digit in one picture.

        Args:
            picture: a path, the bytes of a file, a PIL image, or an array, as
                `decoding.to_rgba` takes them. Ink may be dark or bright.

        Raises:
            PictureError: it is not a picture, or of an impossible size.
            BundleError: the bundle's picture.onnx is damaged.
        """
        return self.interpret(self.run_picture(picture))

    def interpret(self, outputs: list[Any]) -> Prediction:
        """Return what the outputs of `run_picture` mean."""
        probabilities, seen, ink, several, index = outputs
        kept = None if index < 0 else f"hypothesis {index}"
        if 0 <= index < len(HYPOTHESES):
            kept = HYPOTHESES[index]
        if not ink:
            return Prediction(None, 0.0, False, probabilities, seen, NO_INK, kept)
        digit = int(probabilities.argmax())
        confidence = float(probabilities[digit])
        sure = confidence >= self.threshold and not several
        reason = SEVERAL if several else None
        return Prediction(digit, confidence, sure, probabilities, seen, reason, kept)

    def run_picture(self, picture: Picture) -> list[Any]:
        """Return the outputs of the bundle's picture.onnx for a picture, in the graph's order.

        They are those of bundle.runtime.SIGNATURES, in the bundle's format 1, too: there no picture
        has several digits, and the hypothesis is −1. Raises what `predict` raises.
        """
        graph, rgba = self._graph("picture.onnx"), to_rgba(picture)
        if self.manifest.format_version == 1:
            return [*graph.run(on_white(rgba)), np.array(False), np.array(-1)]
        return graph.run(rgba)

    def predict_many(self, pictures: Iterable[Picture]) -> list[Prediction]:
        """Predict the digits in several pictures, of any sizes. Raises what `predict` raises."""
        return [self.predict(picture) for picture in pictures]

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities, float32 (N, 10), of images that are already as MNIST's are.

        Args:
            images: uint8 (N, 28, 28), ink bright on dark.

        Raises:
            PictureError: the images are of another type or shape.
            BundleError: the bundle's digit.onnx is damaged.
        """
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            raise PictureError(
                f"images are {images.dtype} {images.shape}; give uint8 (N, 28, 28), ink bright"
            )
        graph, starts = self._graph("digit.onnx"), range(0, len(images), BATCH_SIZE)
        batches = [graph.run(images[i : i + BATCH_SIZE])[0] for i in starts]
        return np.concatenate([np.empty((0, 10), np.float32), *batches])

    def stop(self) -> None:
        """Have all calls in progress fail soon, and all later ones at once."""
        for graph in self._graphs.values():
            graph.stop()

    def _graph(self, name: str) -> Graph:
        """Return a graph, loaded once, however many threads ask for it first."""
        with self._lock:
            if name not in self._graphs:
                self._graphs[name] = self._load(self.bundle, name, self.manifest)
            return self._graphs[name]


@contextmanager
def threads_for(*predictors: Predictor) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool with a thread for each core; an error or Ctrl-C stops what the predictors do."""
    from concurrent.futures import ThreadPoolExecutor  # 5 ms, not for a single picture

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for predictor in predictors:
                predictor.stop()
            raise
