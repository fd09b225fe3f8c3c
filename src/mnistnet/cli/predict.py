"""`mnistnet predict PATH…`: pictures in, digits out."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import PATH
from mnistnet.cli.output import print_error, print_json, print_line
from mnistnet.errors import PictureError
from mnistnet.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.inference import Prediction

MIN_SECOND_PROBABILITY = 0.1  # of a second guess that is printed


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--bundle", type=PATH, help="read with this bundle")
@click.option("--threshold", type=float, help="the confidence, 0–1, below which it is not sure")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a picture")
@click.option("--show", is_flag=True, help="draw what the network was shown")
def predict(
    paths: tuple[str, ...], bundle: Path | None, threshold: float | None, as_json: bool, show: bool
) -> int:
    """Read digits from pictures, folders of pictures, or standard input (-).

    What is read with less confidence than the threshold, by default the bundle's, is "not sure".
    Exits with 0, or with 1 if some picture could not be read.
    """
    # NumPy starts a thread a core for its matrices: a third of the processor time, for nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from mnistnet.inference import Predictor

    warnings.simplefilter("ignore")  # of oddities in a file that do not matter for a digit
    predictor = Predictor(bundle, threshold=threshold)
    failed = False
    for name, problem in _pictures(paths):
        try:
            if problem:
                raise problem
            prediction = predictor.predict(_stdin() if name == "-" else name)
        except PictureError as error:
            failed = True
            if as_json:
                print_json({"path": name, "error": str(error)})
            else:
                print_error(error)
            continue
        if as_json:
            print_json(_as_json(name, prediction))
        else:
            print_line(_line(name, prediction))
        if show:
            from mnistnet.report.summary import in_characters

            lines = in_characters(prediction.seen)
            if prediction.hypothesis:
                lines.append(f"taken for: {prediction.hypothesis}")
            click.echo("\n".join(line.rstrip() for line in lines), err=as_json)
    return 1 if failed else 0


def _pictures(paths: tuple[str, ...]) -> Iterator[tuple[str, PictureError | None]]:
    """Yield the name of each picture, those in a folder for the folder, or what is wrong there."""
    from mnistnet.inference.folders import find_pictures

    for path in paths:
        if path == "-" or not os.path.isdir(path):  # noqa: PTH112 – false, whatever the name is
            yield path, None
            continue
        found = find_pictures(Path(path))
        yield from ((str(picture), None) for picture in found.pictures)
        for folder in map(str, found.unreadable):
            yield folder, PictureError(f"{folder}: is a folder that cannot be read; check who may")
        if not found.pictures and not found.unreadable:
            yield path, PictureError(f"{path}: holds no pictures")
        elif found.others:
            others = counted(len(found.others), "other file")
            print_line(f"{path}: {others} left out, no pictures", err=True)


def _stdin() -> NDArray[np.uint8]:
    from mnistnet.inference.decoding import MAX_FILE_BYTES, decode

    return decode(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "standard input")


def _line(name: str, prediction: Prediction) -> str:
    if prediction.digit is None:
        return f"{name}: no digit ({prediction.reason})"
    why = f" ({prediction.reason})" if prediction.reason else ""
    unsure = "" if prediction.sure else f"  not sure{why}"
    second, probability = prediction.second_guess()
    other = f" (or {second}, {probability:.1%})" if probability >= MIN_SECOND_PROBABILITY else ""
    return f"{name}: {prediction.digit}  {prediction.confidence:.1%}{unsure}{other}"


def _as_json(name: str, prediction: Prediction) -> dict[str, Any]:
    result = {
        "path": name,
        "digit": prediction.digit,
        "confidence": round(prediction.confidence, 6),
        "sure": prediction.sure,
        "probabilities": [round(float(p), 6) for p in prediction.probabilities],
    }
    details = {"reason": prediction.reason, "hypothesis": prediction.hypothesis}
    return result | {name: value for name, value in details.items() if value is not None}
