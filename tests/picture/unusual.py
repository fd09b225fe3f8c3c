"""Digits in unusual forms, and what is no digit, on plain paper: `draw_unusual(seed, 6)`.

The forms are those that many networks misread. They are not drawn by the generator of handwriting
that networks learn from (`mnistnet.data.handwriting`), and none of the strokes below are its own.
The same seed draws the same pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from drawing import STROKES

from mnistnet.data.strokes import draw_ink, draw_lines, handwritten, photograph, smooth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from mnistnet.data.strokes import Coverage, Grey

    Lines = list[NDArray[np.float64]]  # points (x, y), in any unit

# What is written: the digit, and strokes in hundredths. `~` is a curve, `-` are straight lines.
WRITTEN: dict[str, list[tuple[int, str]]] = {
    "one with a long upstroke": [
        (1, "~ 20,42 30,24 44,4 50,0 53,6 54,50 52,100"),
        (1, "- 14,60 50,0 51,100"),
        (1, "~ 16,48 36,14 50,0 57,5 52,45 46,100"),
    ],
    "seven with a bar": [(7, "- 0,4 60,0 26,100 / - 12,50 60,46")],
    "four closed in one stroke": [(4, "- 54,56 0,60 40,0 43,100"), (4, "- 60,63 3,60 46,3 38,100")],
    "nine like a g": [(9, "~ 50,10 24,-2 3,18 10,44 30,46 46,36 50,8 53,50 48,90 30,99 8,92 4,82")],
    "three with a flat top": [(3, "- 2,2 52,0 22,40 / ~ 22,40 48,46 57,70 44,94 18,100 0,92")],
}
# Where each segment starts and ends: x, y, x, y.
SEGMENTS = dict(zip("abcdefg", ((0, 0, 1, 0), (1, 0, 1, 1), (1, 1, 1, 2), (0, 2, 1, 2),
                                (0, 1, 0, 2), (0, 0, 0, 1), (0, 1, 1, 1)), strict=True)
                )  # fmt: skip
LIT = ["abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg"]
# Seven rows of five dots, each row two hexadecimal digits.
DOTS = (
    *("0e11131519110e", "040c040404040e", "0e11010608101f", "0e11010601110e", "02060a121f0202"),
    *("1f101e0101110e", "0e10101e11110e", "1f010202040404", "0e11110e11110e", "0e11110f01010e"),
)


def draw_unusual(seed: int, n: int) -> Iterator[tuple[str, Grey, int | None]]:
    """Yield n pictures of each kind: kind, uint8 (200, 200), the digit or None."""
    for number, kind in enumerate([*WRITTEN, *PRINTED, *NO_DIGIT]):
        rng = np.random.default_rng([seed, number])
        for i in range(n):
            if kind in WRITTEN:
                digit, text = WRITTEN[kind][i % len(WRITTEN[kind])]
                yield kind, _on_paper(_written(text, rng), rng), digit
            elif kind in PRINTED:
                yield kind, _on_paper(PRINTED[kind](i % 10, rng), rng), i % 10
            else:
                yield kind, NO_DIGIT[kind](rng), None


def _written(text: str, rng: np.random.Generator) -> Coverage:
    """Draw strokes as somebody might write them."""
    strokes, curved = [], []
    for stroke in text.split(" / "):
        kind, *points = stroke.split()
        strokes.append([(int(x) / 100, int(y) / 100) for x, y in (p.split(",") for p in points)])
        curved.append(kind == "~")
    hand = handwritten(strokes, rng, 0.01)
    lines = [smooth(line, 8) if curve else line for line, curve in zip(hand, curved, strict=True)]
    return draw_ink(lines, int(rng.integers(70, 131)), rng.uniform(0.05, 0.15))


def _segments(digit: int, rng: np.random.Generator) -> Coverage:
    """Draw seven segments, slanted, with gaps between them."""
    gap, slant = rng.uniform(0.06, 0.2), np.array([[1, 0], [-rng.uniform(0, 0.15), 1]])
    lines = []
    for name in LIT[digit]:
        start, end = np.reshape(SEGMENTS[name], (2, 2)).astype(float)
        along = gap * (end - start)
        lines.append(np.array([start + along, end - along]) @ slant)
    return draw_ink(lines, int(rng.integers(70, 131)), rng.uniform(0.05, 0.1))


def _dots(digit: int, rng: np.random.Generator) -> Coverage:
    """Draw a matrix of five by seven dots."""
    bits = [(int(DOTS[digit][2 * row : 2 * row + 2], 16), row) for row in range(7)]
    lit = [(x, row) for number, row in bits for x in range(5) if number >> (4 - x) & 1]
    dots = [np.array([(x, y), (x + 0.01, y)]) for x, y in lit]
    return draw_ink(dots, int(rng.integers(70, 121)), rng.uniform(0.08, 0.13))


def _line(points: NDArray[np.float64], rng: np.random.Generator) -> Grey:
    """Draw a closed line of any proportions."""
    closed = np.concatenate([points, points[:1]])
    return _on_paper(draw_ink([closed], int(rng.integers(50, 121)), rng.uniform(0.05, 0.14)), rng)


def _polygon(rng: np.random.Generator) -> Grey:
    n = int(rng.integers(3, 7))
    angles = np.arange(n) * 2 * np.pi / n + rng.uniform(0, 2 * np.pi)
    return _line(np.stack([np.cos(angles), np.sin(angles)], 1), rng)


def _heart(rng: np.random.Generator) -> Grey:
    t = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return _line(np.stack([16 * np.sin(t) ** 3, -y], 1), rng)


def _smiley(rng: np.random.Generator) -> Grey:
    t, arc = np.linspace(0, 2 * np.pi, 40), np.linspace(0.4, 2.7, 12)
    face, mouth = (np.stack([np.cos(a), np.sin(a)], 1) for a in (t, arc))
    eyes = [np.array([(x, -0.3), (x + 0.01, -0.3)]) for x in (-0.35, 0.35)]
    bend = 0.5 * rng.choice([-1, 1])
    mouth = mouth * [0.5, bend] + [0, 0.2 if bend > 0 else 0.7]
    height, pen = int(rng.integers(60, 141)), rng.uniform(0.05, 0.1)
    return _on_paper(draw_ink([face, mouth, *eyes], height, pen), rng)


def _box(rng: np.random.Generator) -> Grey:
    left, top = rng.uniform(10, 60, 2)
    right, bottom = 200 - rng.uniform(10, 60, 2)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    return _photographed(draw_lines([corners], (200, 200), rng.uniform(1, 5)), rng)


def _disc(rng: np.random.Generator) -> Grey:
    x, y = rng.uniform(40, 160, 2)
    return _photographed(
        draw_lines([np.array([(x, y), (x + 0.1, y)])], (200, 200), rng.uniform(4, 25)), rng
    )


def _fingers(rng: np.random.Generator) -> Grey:
    """Draw the soft shadow of some fingers that reach in from below."""
    thick, tilt, soft = rng.uniform(8, 20), rng.uniform(-0.4, 0.4), rng.uniform(2, 20)
    y, x = np.indices((200, 200)).astype(float)
    depth = np.full(x.shape, -np.inf)
    for i in range(int(rng.integers(1, 5))):
        top = rng.uniform(20, 120)
        middle = 60 + 2.6 * thick * i + tilt * (200 - y)
        depth = np.maximum(depth, thick - np.hypot(x - middle, np.minimum(y - top, 0)))
    shadow = np.clip(depth / soft + 0.5, 0, 1)
    return photograph(rng.uniform(170, 245) * (1 - rng.uniform(0.25, 0.6) * shadow), 2, rng)


def _crossed_out(rng: np.random.Generator) -> Grey:
    """Draw a digit that an X, lines or a zigzag cross out."""
    strokes = [smooth(s, 10) for s in handwritten(STROKES[rng.integers(len(STROKES))][1], rng)]
    (left, top), (right, bottom) = (f(np.concatenate(strokes), 0) for f in (np.min, np.max))
    left, right = left - 0.1, right + 0.1
    kind = rng.integers(3)
    if kind == 0:
        lines = [[(left, top), (right, bottom)], [(right, top), (left, bottom)]]
    elif kind == 1:
        heights = top + (bottom - top) * np.array([0.35, 0.6])
        lines = [[(left, y), (right, y + rng.uniform(-0.1, 0.1))] for y in heights]
    else:
        heights = np.linspace(top + 0.1, bottom - 0.1, 7)
        lines = [[((left, right)[i % 2], y) for i, y in enumerate(heights)]]
    crossing = [np.array(line) for line in lines]
    return _on_paper(draw_ink([*strokes, *crossing], int(rng.integers(70, 121)), 0.08), rng)


PRINTED: dict[str, Callable[[int, np.random.Generator], Coverage]] = {
    "seven segments": _segments,
    "dot matrix, 5×7": _dots,
}
NO_DIGIT: dict[str, Callable[[np.random.Generator], Grey]] = {
    "polygon of three to six corners": _polygon,
    "heart": _heart,
    "smiley": _smiley,
    "dot": _disc,
    "empty box": _box,
    "shadow of fingers": _fingers,
    "crossed-out digit": _crossed_out,
}


def _on_paper(ink: Coverage, rng: np.random.Generator) -> Grey:
    """Place ink somewhere near the middle of a sheet, and photograph it."""
    page = np.zeros((200, 200))
    ink = ink[:190, :190]
    top, left = (int((200 - side) * rng.uniform(0.35, 0.65)) for side in ink.shape)
    page[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return _photographed(page, rng)


def _photographed(ink: Coverage, rng: np.random.Generator) -> Grey:
    levels = photograph(250 - rng.uniform(150, 235) * ink, float(rng.choice([0, 3])), rng)
    return 255 - levels if rng.random() < 0.2 else levels
