"""A folder of people's own labelled pictures: a sub-folder for each digit, 0 to 9.

    pictures = find_labelled(Path("mine"))               # mine/0/…, mine/1/…, …
    answers = read_labelled(pictures, [Predictor()])

Every picture is accounted for: it is answered, or it is listed with the reason why not.
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
from mnistnet.inference.decoding import MAX_FILE_BYTES, SUFFIXES, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mnistnet.inference.predictor import Prediction, Predictor

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
class LabelledAnswers:
    """What labelled pictures were read as by one predictor or more.

    Attributes:
        names: of the N pictures that could be decoded.
        labels: uint8 (N,).
        seen: uint8 (N, 28, 28), what the first predictor's network was shown.
        probabilities: float32 (N, 10) for each predictor; a row of zeros where it saw no ink.
        unread: the name of each file that is not among the N, and why.
        sha256: over the labels, names and bytes of all files.
    """

    names: list[str]
    labels: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    probabilities: list[NDArray[np.float32]]
    unread: dict[str, str]
    sha256: str


def is_labelled(folder: Path) -> bool:
    """Say whether a path is a folder with a sub-folder named after a digit."""
    return any((folder / digit).is_dir() for digit in DIGITS)


def find_labelled(folder: Path) -> LabelledPictures:
    """Find the labelled pictures below a folder, in order; links to folders are not followed.

    Raises:
        DataError: a folder cannot be read, or there is no picture with a label.
    """
    names, labels, unlabelled = [], [], []
    for name in _pictures_below(folder):
        first, _, rest = name.partition("/")
        if rest and first in DIGITS:
            names.append(name)
            labels.append(int(first))
        else:
            unlabelled.append(name)
    if not names:
        raise DataError(
            f"{folder}: holds no pictures in its folders 0 to 9; names end in .png, .jpg and so on"
        )
    return LabelledPictures(folder, names, np.array(labels, np.uint8), unlabelled)


def read_labelled(
    pictures: LabelledPictures,
    predictors: Sequence[Predictor],
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> LabelledAnswers:
    """Read every picture with every predictor, each file once.

    Args:
        pictures: what to read.
        predictors: one or more.
        on_progress: is told how many were read.

    Raises:
        DataError: not one of them can be decoded.
    """

    def read(name: str) -> tuple[str, list[Prediction] | PictureError]:
        return _read(pictures.folder / name, name, predictors)

    decoded, rows, unread, digests = [], [], dict.fromkeys(pictures.unlabelled, NO_LABEL), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, (digest, answers) in enumerate(pool.map(read, pictures.names)):
            digests.append(f"{pictures.names[i]} {digest}\n")
            if isinstance(answers, PictureError):
                unread[pictures.names[i]] = str(answers).removeprefix(f"{pictures.names[i]}: ")
            else:
                decoded.append(i)
                rows.append(answers)
            on_progress(i + 1)
    if not rows:
        why = next(iter(unread.items()))
        raise DataError(f"{pictures.folder}: no picture can be read; {why[0]}: {why[1]}")
    return LabelledAnswers(
        names=[pictures.names[i] for i in decoded],
        labels=pictures.labels[decoded],
        seen=np.stack([answers[0].seen for answers in rows]),
        probabilities=[np.stack(list(map(as_row, column))) for column in zip(*rows, strict=True)],
        unread=unread,
        sha256=sha256("".join(digests).encode("utf-8", "surrogateescape")),
    )


def as_row(prediction: Prediction) -> NDArray[np.float32]:
    """Give a prediction's probabilities (10,), zeros where there is no digit."""
    if prediction.digit is None:
        return np.zeros(10, np.float32)
    return prediction.probabilities


def _pictures_below(folder: Path) -> Iterator[str]:
    """Give the names of the pictures below a folder, `/` between the parts."""
    closed: list[OSError] = []
    for place, subfolders, files in os.walk(folder, onerror=closed.append):
        subfolders.sort()
        for file in sorted(files):
            path = Path(place, file)
            if path.suffix.lower() in SUFFIXES and not file.startswith("."):
                yield path.relative_to(folder).as_posix()
    if closed:
        raise DataError(f"{closed[0].filename}: is a folder that cannot be read; check who may")


def _read(
    path: Path, name: str, predictors: Sequence[Predictor]
) -> tuple[str, list[Prediction] | PictureError]:
    """Read one file; give the SHA-256 of its bytes, and the predictions or what is wrong."""
    content = b""
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise PictureError(f"{name}: is not a plain file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        grey = decode(content, name)
        return sha256(content), [predictor.predict(grey) for predictor in predictors]
    except PictureError as error:
        return sha256(content), error
    except OSError as error:
        return sha256(content), PictureError(f"{name}: cannot be read ({error.strerror})")
