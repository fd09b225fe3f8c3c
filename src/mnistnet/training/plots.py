"""Pictures of a run, for people who would rather look than read.

Drawn with Pillow, which the package needs anyway: a plotting library takes longer to import than
all of these take to draw.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnistnet.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

PAPER, INK, FRAME, GUIDE = "#ffffff", "#1f4e79", "#202124", "#e4e6e8"
FAINT = "#b4c8dc"  # the teachers' curves
PALE, DEEP = np.array([255, 245, 240]), np.array([165, 15, 21])  # few mistakes, many
TITLE, TEXT = 17, 13  # heights of letters, in pixels
SMOOTH = 2  # curves are drawn so many times larger and then reduced, which smooths their edges


def draw_batch(path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Draw the first 32 pictures of a batch, (N, 28, 28), as the network sees them."""
    title = "What the network sees: the first pictures of the first batch"
    _draw_tiles(path, title, images, [str(label) for label in labels])


def draw_mistakes(
    path: Path,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    worst: NDArray[np.int64],
) -> None:
    """Draw the worst mistakes: `worst` are indices into the others, the worst first."""
    title = "The worst mistakes: the label, what was predicted, and how surely"
    guesses = probabilities[worst].argmax(1)
    captions = [
        f"{labels[i]} as {guess}  {probabilities[i, guess]:.0%}"
        for i, guess in zip(worst, guesses, strict=True)
    ]
    _draw_tiles(path, title, images[worst], captions)


def draw_curves(path: Path, metrics: Sequence[dict[str, Any]], result: str) -> None:
    """Draw loss and accuracy over the images seen, a line for each network.

    Of several epochs of a network, their ends are drawn: its first steps would dwarf the rest.
    `result` is the picture's title.
    """
    points = [m for m in metrics if "loss" in m]
    if points[-1]["epoch"] > 2 * points[-1]["network"]:
        points = [m for m in points if m["batch"] == m["batches"]]
    networks = [list(of_one) for _, of_one in groupby(points, lambda m: m["network"])]
    starts = [0, *(network[-1]["images"] for network in networks)]
    seen = [
        [(m["images"] - start) / 1000 for m in network]
        for network, start in zip(networks, starts, strict=False)
    ]
    image, draw = _sheet(880 * SMOOTH, 400 * SMOOTH)
    _write(draw, (440, 18), result, TITLE, scale=SMOOTH)
    below = "thousand images seen" + ("; faint: the teachers" if len(networks) > 1 else "")
    for left, label, key, unit in (
        (55, "training loss (nats, running mean)", "loss", 1),
        (495, "training accuracy (%, running mean)", "accuracy", 100),
    ):
        values = [[m[key] * unit for m in network] for network in networks]
        _draw_curves(draw, (left, 70, left + 365, 345), (label, below), seen, values)
    _save(image.reduce(SMOOTH), path)


def draw_confusion(path: Path, matrix: NDArray[np.int64]) -> None:
    """Draw a confusion matrix (10, 10): rows are labels, columns predictions."""
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)  # its thousands would drown what is of interest
    shares = mistakes / max(1, int(mistakes.max()))
    image, draw = _sheet(620, 640)
    _write(draw, (310, 25), "Confusion: rows are labels, columns predictions", TITLE)
    cell, left, top = 52, 70, 60
    for row in range(10):
        y = top + row * cell
        _write(draw, (left - 16, y + cell / 2), str(row), TEXT)
        _write(draw, (left + (row + 0.5) * cell, top + 10 * cell + 16), str(row), TEXT)
        for column in range(10):
            x, share = left + column * cell, shares[row, column]
            red, green, blue = (PALE + (DEEP - PALE) * share).astype(int).tolist()
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=(red, green, blue))
            if count := matrix[row, column]:
                color = PAPER if share > 0.5 else INK
                _write(draw, (x + cell / 2, y + cell / 2), str(count), TEXT, color=color)
    draw.rectangle((left, top, left + 10 * cell, top + 10 * cell), outline=FRAME)
    _save(image, path)


def _draw_tiles(path: Path, title: str, images: NDArray[np.uint8], captions: Sequence[str]) -> None:
    """Draw up to 32 pictures, each three times its size below its caption."""
    columns, wide, high, side = 8, 106, 112, 84
    image, draw = _sheet(columns * wide + 24, 4 * high + 44)
    _write(draw, (image.width / 2, 20), title, TITLE)
    for place, (picture, caption) in enumerate(zip(images[: 4 * columns], captions, strict=False)):
        x, y = 12 + place % columns * wide + 11, 42 + place // columns * high + 20
        image.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST), (x, y))
        _write(draw, (x + side / 2, y - 10), caption, TEXT)
    _save(image, path)


def _draw_curves(
    draw: ImageDraw.ImageDraw,
    box: Box,
    labels: tuple[str, str],
    xs: Sequence[Sequence[float]],
    ys: Sequence[Sequence[float]],
) -> None:
    """Draw lines through points, the last one above the others, in a frame with marked axes."""
    left, top, right, bottom = box
    for label, y in zip(labels, (top - 14, bottom + 36), strict=True):
        _write(draw, ((left + right) / 2, y), label, TEXT, scale=SMOOTH)
    x_marks, y_marks = _marks(list(chain(*xs))), _marks(list(chain(*ys)))
    across = _axis(x_marks, left, right)
    up = _axis(y_marks, bottom, top)
    for mark in x_marks:
        _line(draw, [(across(mark), top), (across(mark), bottom)], GUIDE)
        _write(draw, (across(mark), bottom + 14), f"{mark:g}", TEXT, scale=SMOOTH)
    for mark in y_marks:
        _line(draw, [(left, up(mark)), (right, up(mark))], GUIDE)
        _write(draw, (left - 8, up(mark)), f"{mark:g}", TEXT, scale=SMOOTH, anchor="rm")
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    _line(draw, corners, FRAME)
    colors = [*[FAINT] * (len(xs) - 1), INK]
    for color, seen, values in zip(colors, xs, ys, strict=True):
        points = [(across(x), up(y)) for x, y in zip(seen, values, strict=True)]
        _line(draw, points, color, width=2)
        for x, y in points:
            dot = (x - 3, y - 3, x + 3, y + 3)
            draw.ellipse([side * SMOOTH for side in dot], fill=color)


def _marks(values: Sequence[float]) -> list[float]:
    """Choose four to nine round numbers, evenly spaced, the first and last beyond the values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(n * power for n in (1, 2, 5, 10) if span / (n * power) <= 7)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


def _axis(marks: Sequence[float], start: float, end: float) -> Any:
    """Give the function from a value to its place, in pixels, on an axis."""
    low, high = marks[0], marks[-1]
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _line(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], color: str, width: int = 1
) -> None:
    larger = [(x * SMOOTH, y * SMOOTH) for x, y in points]
    draw.line(larger, fill=color, width=width * SMOOTH, joint="curve")


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    *,
    color: str = FRAME,
    scale: int = 1,
    anchor: str = "mm",
) -> None:
    """Write a line about its middle, or about another anchor in Pillow's words."""
    x, y = place[0] * scale, place[1] * scale
    draw.text((x, y), text, fill=color, font=_font(size * scale), anchor=anchor)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)  # comes with Pillow; has no arrows, no dashes but "-"


def _sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def _save(image: Image.Image, path: Path) -> None:
    with atomic_write(path) as temporary:
        image.save(temporary, format="png")
