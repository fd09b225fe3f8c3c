"""`mnistnet verify DIR`: is the bundle whole, and does it compute here what it should?

    manifest = verify(Path("bundle"))

Sizes and SHA-256 first, then both graphs on the stored vectors. That proves that the bundle is as
it was exported, and that this runtime computes it rightly; who exported it, only a signature says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.bundle.manifest import check_files, read_file
from mnistnet.bundle.vectors import parse_vectors
from mnistnet.errors import BundleError

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
    digit = _Model(directory, "digit.onnx", DIGIT_ENDS, manifest)
    picture = _Model(directory, "picture.onnx", PICTURE_ENDS, manifest)
    _check_images(digit, vectors)
    for number, vector in enumerate(vectors.pictures):
        _check_picture(picture, digit, vector, number)
    return manifest


class _Model:
    """One of the bundle's graphs, ready to run."""

    def __init__(self, directory: Path, name: str, ends: Ends, manifest: Manifest) -> None:
        import onnxruntime

        self.path = directory / name
        content = read_file(directory, name, manifest)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised; the log would say it twice
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no other base
            raise self.broken("cannot be loaded", error) from error
        found = [*self._session.get_inputs(), *self._session.get_outputs()]
        if [(end.name, end.type, end.shape) for end in found] != ends:
            raise self.broken("does not take and give what its format says")

    def run(self, array: NDArray[np.uint8]) -> list[Any]:
        """Give the outputs for the one input."""
        try:
            outputs: list[Any] = self._session.run(
                None, {self._session.get_inputs()[0].name: array}
            )
        except Exception as error:  # ONNX Runtime's errors have no other base
            raise self.broken("cannot be run", error) from error
        return outputs

    def broken(self, problem: str, cause: Exception | None = None) -> BundleError:
        """Put into one line what is wrong with the graph, or with the runtime here."""
        import onnxruntime

        reason = f" ({str(cause).splitlines()[0]:.200})" if cause else ""
        return BundleError(
            f"{self.path}: {problem} with ONNX Runtime {onnxruntime.__version__}{reason};"
            " get the bundle anew, or install another onnxruntime"
        )


def _check_images(digit: _Model, vectors: Vectors) -> None:
    """Compare the probabilities of the stored images, all in one batch and one alone."""
    for images, expected in (
        (vectors.images, vectors.probabilities),
        (vectors.images[:1], vectors.probabilities[:1]),
    ):
        (probabilities,) = digit.run(images)
        if not _close(probabilities, expected, TOLERANCE):
            raise digit.broken("gives other probabilities than PyTorch did for a stored image")


def _check_picture(picture: _Model, digit: _Model, vector: PictureVector, number: int) -> None:
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
