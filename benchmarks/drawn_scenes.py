"""Count how many drawn scenes of each kind a bundle reads, and draw some of them.

    python benchmarks/drawn_scenes.py src/mnistnet/models/default --sheet docs/scenes.png

A scene is a digit with more in the picture than that: `tests/picture/scenes.py`; digits of unusual
forms, and what is no digit: `tests/picture/unusual.py`. Each kind is drawn anew with a seed that
nothing was fitted to. "Surely" counts wrong answers that are not "not sure".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mnistnet import Predictor
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.text import interval, percent

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "picture"))
from drawing import draw_suite  # type: ignore[import-not-found]
from scenes import draw_no_digit, draw_scenes, draw_two_digits  # type: ignore[import-not-found]
from unusual import draw_unusual  # type: ignore[import-not-found]

SEED = 100
PER_DIGIT = 5  # scenes of each kind
SIDE, COLUMNS = 88, 8  # pixels of a picture on the sheet; pictures of each kind


def main() -> None:
    """Draw the scenes, read them with each bundle, and print a table for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--sheet", type=Path, help="a PNG with some pictures of each kind")
    options = parser.parse_args()

    kinds: dict[str, list[tuple[np.ndarray, int | None]]] = {}
    for kind, picture, digit in draw_scenes(SEED, PER_DIGIT):
        kinds.setdefault(kind, []).append((picture, digit))
    rng = np.random.default_rng(SEED)
    kinds["two digits"] = [(draw_two_digits(rng), None) for _ in range(10 * PER_DIGIT)]
    kinds["no digit"] = [(draw_no_digit(rng), None) for _ in range(10 * PER_DIGIT)]
    kinds["the drawn suite"] = [(picture, digit) for picture, digit, _ in draw_suite(SEED)]
    for kind, picture, digit in draw_unusual(SEED, 10 * PER_DIGIT):
        kinds.setdefault(kind, []).append((picture, digit))
    for bundle in options.bundles:
        predictor = Predictor(bundle)
        print(f"{bundle}:")
        for kind, pictures in kinds.items():
            read = [(predictor.predict(picture), digit) for picture, digit in pictures]
            # Of two digits, or none, the right answer is not to be sure of one.
            right = sum(p.digit == d if d is not None else not p.sure for p, d in read)
            surely = sum(p.sure and p.digit != d for p, d in read)
            ends = interval(*wilson_interval(right, len(read)))
            print(f"| {kind} | {percent(right / len(read))} ({ends}) | {surely} | {len(read)} |")
    if options.sheet:
        rows = [np.hstack([as_tile(p) for p, _ in some[:COLUMNS]]) for some in kinds.values()]
        half = (len(rows) + 1) // 2  # the sheet has two columns of kinds
        columns = [np.vstack(rows[:half]), np.vstack(rows[-half:])]
        Image.fromarray(np.hstack(columns)).convert(
            "P", palette=Image.Palette.ADAPTIVE, colors=32
        ).save(options.sheet)


def as_tile(picture: np.ndarray) -> np.ndarray:
    """Return a picture within a grey square of SIDE pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE - 6, SIDE - 6))
    tile = Image.new("L", (SIDE, SIDE), 128)
    tile.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return np.asarray(tile)


if __name__ == "__main__":
    main()
