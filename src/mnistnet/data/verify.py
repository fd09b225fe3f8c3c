"""`mnistnet data verify`: is each file of a data set whole, and is it MNIST's, to the byte?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mnistnet.data import idx, sets
from mnistnet.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Check:
    """The result for one of the four files.

    Its state is `ok` if it has MNIST's bytes, `other` if it is whole but another data set's, such
    as Fashion-MNIST's, `damaged` or `missing`.
    """

    name: str  # in MNIST
    where: str  # the file, or the archive and the array in it, that was read
    state: Literal["ok", "other", "damaged", "missing"]
    count: int | None  # of images or labels; None where it cannot be read
    detail: str  # what was found, in words

    @property
    def usable(self) -> bool:
        """Whether the file can be read for training or testing."""
        return self.state in ("ok", "other")


def verify(path: Path) -> list[Check]:
    """Read a data set's files to their ends, and compare them with MNIST's, byte for byte.

    Args:
        path: a folder of IDX files, or an `.npz`.

    Returns:
        A check for each of the four, in MNIST's order.

    Raises:
        DataError: the path is neither a folder nor an `.npz`, or holds several data sets.
    """
    parts = sets.find_parts(path)
    checks: list[Check] = []
    for split in (sets.TRAIN, sets.TEST):
        images, labels = (
            _check(name, parts[name], sets.MNIST_SHA256[name])
            if name in parts
            else Check(name, str(path), "missing", None, sets.describe_missing(path, name))
            for name in split
        )
        checks += images, _compare_counts(images, labels)
    return checks


def _check(name: str, part: sets.Part, expected_sha256: str) -> Check:
    try:
        array = part.read()
    except DataError as error:
        reason = str(error).removeprefix(f"{part.where}: ")
        return Check(name, part.where, "damaged", None, reason)
    count = f"{len(array):,} {'images' if array.ndim > 1 else 'labels'}"
    if idx.sha256(array) == expected_sha256:
        return Check(name, part.where, "ok", len(array), f"MNIST's bytes, {count}")
    return Check(name, part.where, "other", len(array), f"whole, but not MNIST's bytes, {count}")


def _compare_counts(images: Check, labels: Check) -> Check:
    if images.count is None or labels.count in (None, images.count):
        return labels
    detail = f"holds {labels.count:,} labels for {images.count:,} images"
    return replace(labels, state="damaged", detail=detail)
