"""The images that a report judges and shows, with the answers to them.

    album = Album(images, labels, probabilities, label_errors=(), file_names=None)
    album.is_right()                    # bool (N,)
    album.add(places)                   # captions; the pictures gather in album.pictures

A row of zeros among the probabilities is no answer: the model found no ink, and named no digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.errors import DataError
from mnistnet.metrics import scores as metrics
from mnistnet.report import png

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray


class Album:
    """The images that a report shows, each held once however often it is shown."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[Any],
        probabilities: NDArray[Any],
        label_errors: Collection[int],
        file_names: Sequence[str] | None,
    ) -> None:
        self.images, self.labels, self.probabilities = images, labels, probabilities
        self.label_errors, self.file_names = label_errors, file_names
        self.pictures: dict[str, str] = {}
        n = len(labels)
        if images.dtype != np.uint8 or images.shape != (n, 28, 28):
            raise DataError(
                f"{n} labels, but images are {images.dtype} of shape {images.shape}; "
                f"expected uint8 ({n}, 28, 28)"
            )
        if probabilities.shape != (n, metrics.DIGITS):
            raise DataError(f"{n} labels and probabilities {probabilities.shape} do not match")
        if file_names is not None and len(file_names) != n:
            raise DataError(f"{len(file_names)} file names for {n} labels: they must match")

    def answered(self) -> NDArray[np.intp]:
        """Give the places of the images that got an answer. Raises DataError if none did."""
        places = np.flatnonzero(self.probabilities.any(axis=1))
        if len(self.labels) and not len(places):
            raise DataError(f"none of the {len(self.labels):,} images was answered: no ink is seen")
        return places

    def is_right(self, probabilities: NDArray[Any] | None = None) -> NDArray[np.bool_]:
        """Say of each image whether this model, or another, answered it rightly: bool (N,)."""
        rows = self.probabilities if probabilities is None else probabilities
        right: NDArray[np.bool_] = rows.any(axis=1) & (rows.argmax(axis=1) == self.labels)
        return right

    def unread(self) -> dict[str, Any]:
        """Name the images that got no answer, with their labels."""
        places = [int(place) for place in np.flatnonzero(~self.probabilities.any(axis=1))]
        return {"no_ink": [{"file": self._name(p), "label": int(self.labels[p])} for p in places]}

    def add(self, places: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Take up the images at these places, and give for each what its caption says."""
        return [self._entry(int(place)) for place in places]

    def count_mislabelled(self) -> dict[str, int]:
        """Count the known label errors, and those on which the model disagrees with the label."""
        places = [place for place in self.label_errors if place < len(self.labels)]
        wrong = self.probabilities[places].argmax(axis=1) != self.labels[places]
        return {"known": len(places), "among_mistakes": int(wrong.sum())}

    def _entry(self, place: int) -> dict[str, Any]:
        self.pictures[str(place)] = png.data_uri(self.images[place])
        row = self.probabilities[place]
        entry = {
            "index": place,
            "label": int(self.labels[place]),
            "answer": answer_of(row),
            "confidence": float(row.max()),
            "label_probability": float(row[self.labels[place]]),
            "is_mislabelled": place in self.label_errors,
        }
        return entry | ({"file": self._name(place)} if self.file_names is not None else {})

    def _name(self, place: int) -> str:
        return f"image {place}" if self.file_names is None else self.file_names[place]


def answer_of(row: NDArray[Any]) -> int | None:
    """Give the digit that a row of probabilities (10,) names; None where it names none."""
    return int(row.argmax()) if row.any() else None
