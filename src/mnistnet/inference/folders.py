"""Folders of pictures; labelled ones have a sub-folder for each digit, 0 to 9.

    found = find_pictures(Path("mine"))
    predictions, _ = predict_labelled(Path("mine"), [Predictor()])   # mine/0/…, mine/1/…, …

Every picture is accounted for: it has a prediction, or is left out with the reason.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnistnet.errors import DataError, PictureError
from mnistnet.files import sha256
from mnistnet.inference.decoding import START_BYTES, decode, find_format, read_file, to_rgba
from mnistnet.inference.predictor import threads_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnistnet.inference.predictor import Prediction, Predictor
    from mnistnet.report.build import Predictions

THUMBNAIL = 112  # pixels
DIGITS = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class FoundPictures:
    """What lies below a folder, in order."""

    pictures: list[Path]
    others: list[Path]  # files that do not start as a picture does
    unreadable: list[Path]  # folders


def find_pictures(folder: Path) -> FoundPictures:
    """Find the pictures below a folder, by how they start; names may end in anything.

    Hidden files and folders are skipped, such as the `._7.jpg` that macOS leaves next to a
    `7.jpg`; links to folders are not followed. A file that is called a picture counts as one,
    whatever is in it, so that reading it says what is wrong.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    errors: list[OSError] = []
    for parent, subfolders, files in os.walk(folder, onerror=errors.append):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths = (Path(parent, name) for name in sorted(files) if not name.startswith("."))
        for path in paths:
            (pictures if _is_picture(path) else others).append(path)
    return FoundPictures(pictures, others, [Path(error.filename) for error in errors])


def _is_picture(path: Path) -> bool:
    if (guess_type(path.name)[0] or "").startswith("image/"):
        return True
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            return False
        with path.open("rb") as file:
            return find_format(file.read(START_BYTES)) is not None
    except OSError:
        return False


def is_labelled(folder: Path) -> bool:
    """Whether a path is a folder with a sub-folder named after a digit."""
    return any((folder / digit).is_dir() for digit in DIGITS)


def predict_labelled(
    folder: Path, predictors: Sequence[Predictor], on_progress: Callable[[int, int], None]
) -> tuple[Predictions, list[NDArray[np.float32]]]:
    """Decode each labelled picture below a folder once, and predict it with every predictor.

    Args:
        folder: has sub-folders named after digits.
        predictors: one or more.
        on_progress: called with the number of pictures done, and of all.

    Returns:
        The first predictor's predictions on the N pictures that could be decoded, and the
        probabilities (N, 10) of the others; zeros where no ink was found.

    Raises:
        DataError: a folder cannot be read, or no picture with a label can be decoded.
    """
    from mnistnet.report.build import Predictions  # 25 ms, not for `predict`
    from mnistnet.report.contents import Dataset

    names, undecoded = _find_labelled(folder)
    rows: dict[str, list[Prediction]] = {}  # by name: of each predictor
    digests = []
    with threads_for(*predictors) as pool:
        results = pool.map(lambda name: _predict(folder, name, predictors), names)
        for name, (digest, result) in zip(names, results, strict=True):
            digests.append(f"{name} {digest}\n")
            if isinstance(result, str):
                undecoded[name] = result
            else:
                rows[name] = result
            on_progress(len(digests), len(names))
    if not rows:
        name, reason = next(iter(undecoded.items()))
        raise DataError(f"{folder}: no picture can be read; {name}: {reason}")
    first, *others = zip(*rows.values(), strict=True)
    content = "".join(digests).encode("utf-8", "surrogateescape")
    predictions = Predictions(
        Dataset(f"the pictures in {folder.resolve().name}", {"all pictures": sha256(content)}),
        np.stack([prediction.seen for prediction in first]),
        np.array([int(name[0]) for name in rows], np.uint8),
        np.stack(list(map(as_row, first))),
        file_names=list(rows),
        hypotheses=[prediction.hypothesis for prediction in first],
        original=lambda name: _thumbnail(folder / name),
        undecoded=undecoded,
    )
    return predictions, [np.stack(list(map(as_row, other))) for other in others]


def as_row(prediction: Prediction) -> NDArray[np.float32]:
    """Return a prediction's probabilities (10,), zeros where there is no digit."""
    return prediction.probabilities * np.float32(prediction.digit is not None)


def _find_labelled(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the names of the pictures with a label, and of all other files → why they are none."""
    found = find_pictures(folder)
    if found.unreadable:
        raise DataError(f"{found.unreadable[0]}: is a folder that cannot be read; check who may")
    names, others = (
        [path.relative_to(folder).as_posix() for path in paths]
        for paths in (found.pictures, found.others)
    )
    labelled = [name for name in names if "/" in name and name.split("/")[0] in DIGITS]
    if not labelled:
        raise DataError(f"{folder}: holds no pictures in folders 0 to 9")
    reason = "lies in no folder named 0 to 9, so it has no label"
    left_out = dict.fromkeys(sorted({*names} - {*labelled}), reason)
    return labelled, left_out | dict.fromkeys(others, "does not start as a picture does")


def _predict(
    folder: Path, name: str, predictors: Sequence[Predictor]
) -> tuple[str, list[Prediction] | str]:
    """Return the SHA-256 of a file's bytes, and its predictions or why there are none."""
    content = b""
    try:
        content = read_file(folder / name, name)
        picture = decode(content, name)
        return sha256(content), [predictor.predict(picture) for predictor in predictors]
    except PictureError as error:
        return sha256(content), str(error).removeprefix(f"{name}: ")


def _thumbnail(path: Path) -> bytes | None:
    """Return a picture at most THUMBNAIL pixels wide and high, as PNG; None if it is gone."""
    try:
        picture = Image.fromarray(to_rgba(path))
    except PictureError:
        return None
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
