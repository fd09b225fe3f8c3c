"""A data set in memory: `read(Path("data/mnist"))`.

Two layouts are read:

- a folder of four IDX files in MNIST's naming, gzipped or not, `-` or `.` before `idx`.
  A common prefix is allowed, if the folder holds one data set only, and `test` for `t10k`:
  both are EMNIST's (`emnist-digits-test-images-idx3-ubyte.gz`). EMNIST stores its images
  transposed; those of files named `emnist-…` are transposed back.
- an `.npz` with Keras's four arrays: `x_train`, `y_train`, `x_test`, `y_test`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data import idx, npz
from mnistnet.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
KEYS = dict(zip(TRAIN + TEST, ("x_train", "y_train", "x_test", "y_test"), strict=True))
MNIST_SHA256 = {  # of the uncompressed files, since mirrors gzip differently
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FILE_NAME = re.compile(
    r"(?P<prefix>(?!\.).*?)(?P<split>train|t10k|test)-(?P<kind>images|labels)"
    r"[-.]idx(?P<dimensions>[13])-ubyte(\.gz)?"
)


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    Attributes:
        images: uint8 (N, 28, 28), ink bright on dark, 0–255.
        labels: uint8 (N,), 0–9.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A training and a test split.

    Attributes:
        train: the training images.
        test: images that training never sees.
        source: the folder or file that it was read from.
    """

    train: Split
    test: Split
    source: str

    @cached_property
    def sha256(self) -> dict[str, str]:
        """The SHA-256 of each array as an uncompressed IDX file, by that file's name.

        However it is stored, MNIST has MNIST's four. Computed on first access (30 ms).
        """
        splits = (self.train, self.test)
        arrays = [array for split in splits for array in (split.images, split.labels)]
        return {name: idx.sha256(array) for name, array in zip(KEYS, arrays, strict=True)}

    def hold_out(self, n: int) -> DataSet:
        """Return the data set with its last `n` training images as the test split, to validate on.

        Nothing is copied, and the test images are in neither split.

        Raises:
            DataError: `n` leaves nothing to train on, or nothing to validate on.
        """
        rest = len(self.train) - n
        if not 1 <= n < len(self.train):
            most = len(self.train) - 1
            raise DataError(f"{self.source}: {n:,} images cannot be held out; choose 1 to {most:,}")
        images, labels = self.train.images, self.train.labels
        return replace(
            self,
            train=Split(images[:rest], labels[:rest]),
            test=Split(images[rest:], labels[rest:]),
        )


@dataclass(frozen=True)
class Part:
    """One of a data set's four arrays: its name in MNIST, and the file or archive it is in."""

    name: str
    path: Path

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.path}, {KEYS[self.name]}" if self.path.suffix == ".npz" else str(self.path)

    def read(self) -> NDArray[np.uint8]:
        """Read the array: images (N, 28, 28), upright, or labels (N,). Raises DataError."""
        item_shape = () if "labels" in self.name else (28, 28)
        if self.path.suffix == ".npz":
            array = npz.read(self.path, KEYS[self.name], item_shape)
        else:
            array = idx.read(self.path, item_shape)
            if item_shape and self.path.name.startswith("emnist-"):
                array = np.ascontiguousarray(array.transpose(0, 2, 1))
        if not item_shape and array.max() > 9:
            raise DataError(f"{self.where}: holds the label {array.max()}; only 0–9 are digits")
        return array


def read(path: Path) -> DataSet:
    """Read a data set.

    Args:
        path: a folder of IDX files, or an `.npz`.

    Raises:
        DataError: something is missing, damaged or does not fit together.
    """
    parts = find_parts(path)
    for name in KEYS:
        if name not in parts:
            raise DataError(f"{path}: {describe_missing(path, name)}")
    return DataSet(
        train=_read_split(*(parts[name] for name in TRAIN)),
        test=_read_split(*(parts[name] for name in TEST)),
        source=str(path),
    )


def find_parts(path: Path) -> dict[str, Part]:
    """Find the arrays of a data set, by the names of MNIST's files; some may be missing.

    Raises:
        DataError: the path is neither a folder nor an `.npz`, or holds several data sets.
    """
    if path.is_dir():
        return {name: Part(name, file) for name, file in find_files(path).items()}
    if not path.is_file():
        raise DataError(f"{path}: no such folder or file; `mnistnet data` lists what there is")
    if path.suffix != ".npz":
        raise DataError(f"{path}: is neither a folder of IDX files nor an .npz")
    keys = npz.keys(path)
    return {name: Part(name, path) for name, key in KEYS.items() if key in keys}


def find_files(folder: Path) -> dict[str, Path]:
    """Find the IDX files of the data set in a folder, by the names of MNIST's files.

    If a file is there both gzipped and not, the latter is taken: it reads faster.

    Raises:
        DataError: the folder cannot be read, or holds several data sets.
    """
    sets: dict[str, dict[str, list[Path]]] = {}  # prefix → MNIST's name → files
    try:
        for file in folder.iterdir():
            if (match := FILE_NAME.fullmatch(file.name)) and file.is_file():
                split = "train" if match["split"] == "train" else "t10k"
                name = f"{split}-{match['kind']}-idx{match['dimensions']}-ubyte"
                sets.setdefault(match["prefix"], {}).setdefault(name, []).append(file)
    except OSError as error:
        raise idx.read_error(str(folder), error) from error
    if len(sets) > 1 and "" not in sets:
        prefixes = ", ".join(sorted(sets))
        raise DataError(
            f"{folder}: holds several data sets ({prefixes}); put each in its own folder"
        )
    files = sets.get("") or next(iter(sets.values()), {})
    return {
        name: min(same, key=lambda f: (f.suffix == ".gz", f.name)) for name, same in files.items()
    }


def describe_missing(path: Path, name: str) -> str:
    """Return, in words, that a data set lacks one of the four arrays."""
    return f"has no array {KEYS[name]}" if path.is_file() else f"has no file {name} (or {name}.gz)"


def _read_split(images: Part, labels: Part) -> Split:
    split = Split(images.read(), labels.read())
    if len(split.images) != len(split.labels):
        raise DataError(
            f"{labels.where}: holds {len(split.labels):,} labels, "
            f"but {images.where} holds {len(split.images):,} images"
        )
    return split
