"""Folders of pictures; labelled ones have a sub-folder for each digit, 0 to 9.

    paths, unreadable = find_pictures(Path("mine"))
    pictures = find_labelled(Path("mine"))               # mine/0/…, mine/1/…, …
    predictions = predict_labelled(pictures, [Predictor()])

Every labelled picture is accounted for: it has a prediction, or is left out with the reason.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.errors import DataError, PictureError
from mnistnet.files import sha256
from mnistnet.inference.decoding import decode, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnistnet.inference.predictor import Prediction, Predictor

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"}
DIGITS = [str(digit) for digit in range(10)]
NO_LABEL = "lies in no folder named 0 to 9, so it has no label"


@dataclass(frozen=True)
class LabelledPictures:
    """What a folder of labelled pictures holds.

    Attributes:
        folder: the folder.
        names: of the pictures with a label, below the folder, `/` between the parts.
        labels: uint8 (N,), of each of them.
        unlabelled: the names of pictures that lie in no digit's folder.
    """

    folder: Path
    names: list[str]
    labels: NDArray[np.uint8]
    unlabelled: list[str]


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """What one predictor or more made of labelled pictures.

    Attributes:
        names: of the N pictures that could be decoded.
        labels: uint8 (N,).
        seen: uint8 (N, 28, 28), what the first predictor's network was shown.
        probabilities: float32 (N, 10) for each predictor; a row of zeros where it found no ink.
        left_out: the name of each file that is not among the N → why.
        sha256: over the labels, names and bytes of all files.
    """

    names: list[str]
    labels: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    probabilities: list[NDArray[np.float32]]
    left_out: dict[str, str]
    sha256: str


def find_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """Find the pictures below a folder, by the ends of their names.

    Hidden files and folders are skipped, such as the `._7.jpg` that macOS leaves next to a
    `7.jpg`; links to folders are not followed.

    Returns:
        The pictures, in order, and the folders that cannot be read.
    """
    pictures: list[Path] = []
    errors: list[OSError] = []
    for parent, subfolders, files in os.walk(folder, onerror=errors.append):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths = (Path(parent, name) for name in sorted(files) if not name.startswith("."))
        pictures += (path for path in paths if path.suffix.lower() in SUFFIXES)
    return pictures, [Path(error.filename) for error in errors]


def is_labelled(folder: Path) -> bool:
    """Whether a path is a folder with a sub-folder named after a digit."""
    return any((folder / digit).is_dir() for digit in DIGITS)


def find_labelled(folder: Path) -> LabelledPictures:
    """Find the pictures below a folder, and their labels by the sub-folders that they lie in.

    Raises:
        DataError: a folder cannot be read, or there is no picture with a label.
    """
    pictures, unreadable = find_pictures(folder)
    if unreadable:
        raise DataError(f"{unreadable[0]}: is a folder that cannot be read; check who may")
    names = [path.relative_to(folder).as_posix() for path in pictures]
    labelled = [name for name in names if "/" in name and name.split("/")[0] in DIGITS]
    if not labelled:
        raise DataError(
            f"{folder}: holds no pictures in its folders 0 to 9; names end in .png, .jpg and so on"
        )
    labels = np.array([int(name[0]) for name in labelled], np.uint8)
    known = set(labelled)
    return LabelledPictures(folder, labelled, labels, [name for name in names if name not in known])


def predict_labelled(
    pictures: LabelledPictures,
    predictors: Sequence[Predictor],
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> LabelledPredictions:
    """Decode each picture once, and predict its digit with every predictor.

    Args:
        pictures: what to predict.
        predictors: one or more.
        on_progress: called with the number of pictures done.

    Raises:
        DataError: not one of the pictures can be decoded.
    """
    decoded, rows, digests = [], [], []
    left_out = dict.fromkeys(pictures.unlabelled, NO_LABEL)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda name: _predict(pictures.folder, name, predictors), pictures.names)
        for i, (name, (digest, result)) in enumerate(zip(pictures.names, results, strict=True)):
            digests.append(f"{name} {digest}\n")
            if isinstance(result, str):
                left_out[name] = result
            else:
                decoded.append(i)
                rows.append(result)
            on_progress(i + 1)
    if not rows:
        name, reason = next(iter(left_out.items()))
        raise DataError(f"{pictures.folder}: no picture can be read; {name}: {reason}")
    return LabelledPredictions(
        names=[pictures.names[i] for i in decoded],
        labels=pictures.labels[decoded],
        seen=np.stack([row[0].seen for row in rows]),
        probabilities=[np.stack(list(map(as_row, column))) for column in zip(*rows, strict=True)],
        left_out=left_out,
        sha256=sha256("".join(digests).encode("utf-8", "surrogateescape")),
    )


def as_row(prediction: Prediction) -> NDArray[np.float32]:
    """Return a prediction's probabilities (10,), zeros where there is no digit."""
    if prediction.digit is None:
        return np.zeros(10, np.float32)
    return prediction.probabilities


def _predict(
    folder: Path, name: str, predictors: Sequence[Predictor]
) -> tuple[str, list[Prediction] | str]:
    """Return the SHA-256 of a file's bytes, and its predictions or why there are none."""
    content = b""
    try:
        content = read_file(folder / name, name)
        grey = decode(content, name)
        return sha256(content), [predictor.predict(grey) for predictor in predictors]
    except PictureError as error:
        return sha256(content), str(error).removeprefix(f"{name}: ")
