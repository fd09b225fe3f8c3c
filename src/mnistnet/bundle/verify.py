"""`mnistnet verify DIR`: is the bundle whole, and does it compute here what it should?

    manifest = verify(Path("bundle"))

Sizes and SHA-256 first, then both graphs on the stored vectors. That proves that the bundle is as
it was exported, and that this runtime computes it rightly; who exported it, only a signature says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.bundle.manifest import check_files, read_file
from mnistnet.bundle.runtime import Graph
from mnistnet.bundle.vectors import parse_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest
    from mnistnet.bundle.vectors import PictureVector, Vectors

TOLERANCE = 1e-4  # of a probability: every runtime adds up in an order of its own
SEEN_TOLERANCE = 1  # grey level, for a brightness just between two

# Name, type and shape of what goes in and comes out; a letter stands for any number.
Ends = list[tuple[str, str, list[int | str]]]
DIGIT_ENDS: Ends = [
    ("images", "tensor(uint8)", ["N", 28, 28]),
    ("probabilities", "tensor(float)", ["N", 10]),
]
PICTURE_ENDS: Ends = [
    ("picture", "tensor(uint8)", ["H", "W"]),
    ("probabilities", "tensor(float)", [10]),
    ("seen", "tensor(uint8)", [28, 28]),
    ("ink", "tensor(bool)", []),
]


def verify(directory: Path) -> Manifest:
    """Check everything about a bundle that can be checked without knowing its maker.

    Returns:
        What its manifest says.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    manifest = check_files(directory)
    where = directory / "vectors.json"
    vectors = parse_vectors(read_file(directory, where.name, manifest), where)
    digit, picture = (
        Graph(directory, "digit.onnx", manifest),
        Graph(directory, "picture.onnx", manifest),
    )
    for graph, ends in ((digit, DIGIT_ENDS), (picture, PICTURE_ENDS)):
        if graph.signature != ends:
            raise graph.broken("does not take and give what its format says")
    _check_images(digit, vectors)
    for number, vector in enumerate(vectors.pictures):
        _check_picture(picture, digit, vector, number)
    return manifest


def _check_images(digit: Graph, vectors: Vectors) -> None:
    """Compare the probabilities of the stored images, all in one batch and one alone."""
    for images, expected in (
        (vectors.images, vectors.probabilities),
        (vectors.images[:1], vectors.probabilities[:1]),
    ):
        (probabilities,) = digit.run(images)
        if not _close(probabilities, expected, TOLERANCE):
            raise digit.broken("gives other probabilities than PyTorch did for a stored image")


def _check_picture(picture: Graph, digit: Graph, vector: PictureVector, number: int) -> None:
    """Compare what is seen in a stored picture, and read that with the other graph too."""
    probabilities, seen, ink = picture.run(vector.picture)
    if bool(ink) != vector.ink:
        raise picture.broken(f"gives ink={bool(ink)} for stored picture {number}, which is wrong,")
    if not _close(seen, vector.seen, SEEN_TOLERANCE):
        raise picture.broken(f"sees stored picture {number} otherwise than PyTorch did")
    # Against the stored probabilities, one grey level more or less could count too much.
    (expected,) = digit.run(seen[None])
    if not _close(probabilities, expected[0], TOLERANCE):
        raise picture.broken(f"reads stored picture {number} otherwise than digit.onnx does")


def _close(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> bool:
    """Compare; a NaN is close to nothing."""
    if found.shape != expected.shape:
        return False
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return bool((difference <= tolerance).all())
