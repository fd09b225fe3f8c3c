"""`mnistnet verify DIR`: check that a bundle is complete, and computes here what it should.

    manifest = verify(Path("bundle"))

Sizes and SHA-256 first, then what the files hold, then both graphs on the stored vectors.
That shows that the bundle is as it was exported, and that this runtime computes it correctly; who
exported it, only a signature shows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.bundle.documents import check_documents
from mnistnet.bundle.manifest import check_files, read_file
from mnistnet.bundle.runtime import Graph
from mnistnet.bundle.vectors import from_base64, parse_vectors
from mnistnet.bundle.weights import read_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.bundle.vectors import ImageVector, PictureVector

BUDGET_S = 60.0  # for each graph, on all vectors; the shipped ones take a tenth of a second
TOLERANCE = 1e-4  # of a probability: every runtime sums in an order of its own
SEEN_TOLERANCE = 1  # grey level, for a brightness just between two


def verify(directory: Path) -> Manifest:
    """Check everything about a bundle that can be checked without knowing its maker.

    Returns:
        Its manifest.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    manifest = check_files(directory)
    check_documents(directory, manifest)
    where = directory / "vectors.json"
    vectors = parse_vectors(read_file(directory, where.name, manifest), where)
    read_weights(directory, manifest)
    digit, picture = (
        Graph(directory, name, manifest, budget_s=BUDGET_S)
        for name in ("digit.onnx", "picture.onnx")
    )
    _check_images(digit, vectors.images)
    for number, vector in enumerate(vectors.pictures):
        _check_picture(picture, digit, vector, number)
    return manifest


def _check_images(digit: Graph, vectors: Sequence[ImageVector]) -> None:
    """Compare the probabilities of the stored images, all in one batch and one alone."""
    images = np.stack([from_base64(vector.image) for vector in vectors])
    expected = np.array([vector.probabilities for vector in vectors])
    for n in (len(images), 1):
        (probabilities,) = digit.run(images[:n])
        if largest_difference(probabilities, expected[:n]) > TOLERANCE:
            raise digit.broken("computes other probabilities than PyTorch for a stored image")


def _check_picture(picture: Graph, digit: Graph, vector: PictureVector, number: int) -> None:
    """Compare the prepared image of a stored picture, and the probabilities of the two graphs."""
    probabilities, seen, ink, *_ = picture.run(from_base64(vector.picture, vector.shape))
    if bool(ink) != vector.ink:
        raise picture.broken(f"has ink={bool(ink)} for stored picture {number}, which is wrong,")
    if largest_difference(seen, from_base64(vector.seen)) > SEEN_TOLERANCE:
        raise picture.broken(f"prepares stored picture {number} otherwise than PyTorch")
    # Against stored probabilities, one grey level more or less could make too large a difference.
    (expected,) = digit.run(seen[None])
    if largest_difference(probabilities, expected[0]) > TOLERANCE:
        raise picture.broken(f"computes other probabilities than digit.onnx for picture {number}")


def largest_difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest absolute difference; infinity for a NaN, or arrays of two shapes."""
    if found.shape != expected.shape:
        return math.inf
    difference = float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max())
    return math.inf if math.isnan(difference) else difference
