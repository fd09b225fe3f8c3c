"""Scenes with a known digit, as people photograph and draw them: `draw_scenes(seed, 3)`.

`drawing` varies pen, paper and light; here something else is in the picture too: a frame, a desk, a
shadow with an edge, a box or a line close by, so much paper that the digit is tiny. The same seed
draws the same pictures. The choice of a hypothesis is fitted on them (`benchmarks/hypotheses.py`).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from drawing import STROKES

from mnistnet.data.allographs import allographs
from mnistnet.data.strokes import (
    draw_ink,
    handwritten,
    photograph,
    rotation,
    smooth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from mnistnet.data.strokes import Coverage, Grey, Light

    Box = tuple[int, int, int, int]  # top, left, bottom, right


def draw_scenes(seed: int, n: int) -> Iterator[tuple[str, Grey, int]]:
    """Yield n pictures of every digit in every kind of scene: kind, uint8 (H, W), label."""
    for number, (kind, draw) in enumerate(KINDS.items()):
        rng = np.random.default_rng([seed, number])
        for digit in [*range(10)] * n:
            yield kind, draw(digit, rng), digit


def framed(digit: int, rng: np.random.Generator) -> Grey:
    """Draw a digit on a card, a disc, a window; or with dark bars along some borders."""
    shape = (side := int(rng.integers(110, 320)), int(side * rng.uniform(0.8, 1.25)))
    least, (height, width) = min(shape), shape
    paper, ink = _levels(rng, 90)
    around = float(rng.choice([ink, (ink + paper) / 2]))
    kind = rng.choice(["bars", "card", "disc"])
    y, x = np.indices(shape).astype(float)
    if kind == "disc":
        radius = least * rng.uniform(0.38, 0.48)
        sheet = np.clip(radius + 0.5 - np.hypot(y - height / 2, x - width / 2), 0, 1)
        inner = _middle(shape, least / 2 - radius * 0.7)
    else:
        share = rng.uniform(0.01, 0.12) if kind == "bars" else rng.uniform(0.06, 0.2)
        bars = np.full(4, share * least)
        if kind == "bars" and rng.random() < 0.5:
            bars[rng.integers(4)] = -1
        inside = [y - bars[0], x - bars[1], height - 1 - bars[2] - y, width - 1 - bars[3] - x]
        sheet = np.clip(np.min(inside, axis=0) + 0.5, 0, 1)
        inner = _middle(shape, share * least)
    light = paper + (ink - paper) * _written(digit, shape, inner, rng)
    return _camera(around + (light - around) * sheet, rng)


def on_a_desk(digit: int, rng: np.random.Generator) -> Grey:
    """Draw a sheet or a note that lies on a darker or brighter desk, turned a little."""
    shape = (height, width) = (150, 200) if rng.random() < 0.7 else (200, 150)
    paper = rng.uniform(150, 230)
    desk = rng.choice([rng.uniform(20, 0.7 * paper), paper + 25])
    sides = np.array([width, height]) * rng.uniform(0.5, 0.9)
    if rng.random() < 0.3:
        sides = np.full(2, min(shape) * rng.uniform(0.3, 0.5))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * sides
    corners = corners @ rotation(rng.uniform(-0.1, 0.1)) + [width / 2, height / 2]
    corners += rng.uniform(-0.3, 0.3, 2) * ([width, height] - sides)
    y, x = np.indices(shape).astype(float)
    inside = []
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        length = np.hypot(x1 - x0, y1 - y0)
        inside.append(((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / length)
    sheet = np.clip(np.min(inside, axis=0) + 0.5, 0, 1)
    left, top = (corners.min(0) + 0.16 * sides).astype(int)
    right, bottom = (corners.max(0) - 0.16 * sides).astype(int)
    ink = _written(digit, shape, (top, left, bottom, right), rng)
    grain = desk * (1 + rng.uniform(0, 0.05) * np.sin(x / 9 + y * rng.uniform(0.1, 0.5)))
    return _camera(grain + (paper * (1 - rng.uniform(0.5, 0.8) * ink) - grain) * sheet, rng)


def in_a_shadow(digit: int, rng: np.random.Generator) -> Grey:
    """Let a hand, a head or a straight edge cast its shadow across the digit."""
    shape = (height, width) = (150, 200)
    y, x = np.indices(shape).astype(float)
    kind, soft = rng.choice(["edge", "head", "fingers"]), rng.choice([0.7, 2.0])
    if kind == "edge":
        angle = rng.uniform(0, 2 * np.pi)
        depth = np.cos(angle) * (x - width / 2) + np.sin(angle) * (y - height / 2)
    elif kind == "head":
        centre = rng.uniform(0.1, 0.9) * width, rng.uniform(0.7, 1.2) * height
        depth = rng.uniform(0.3, 0.7) * height - np.hypot(x - centre[0], y - centre[1])
    else:
        thick, first = width * rng.uniform(0.03, 0.06), width * rng.uniform(0.1, 0.3)
        tips = [(first + 3.2 * thick * i, height * rng.uniform(0.1, 0.6)) for i in range(4)]
        depth = np.max([thick - np.hypot(x - u, np.minimum(y - v, 0)) for u, v in tips], axis=0)
    shadow = np.clip(depth / soft + 0.5, 0, 1)
    paper = rng.uniform(170, 250) * (1 - rng.uniform(0.5, 0.8) * _written(digit, shape, None, rng))
    return _camera(paper * (1 - rng.uniform(0.25, 0.6) * shadow), rng)


def with_a_mark(digit: int, rng: np.random.Generator) -> Grey:
    """Draw a box or a circle around the digit, or a line under it."""
    side = int(rng.integers(110, 320))
    page = _written(digit, (side, side), _middle((side, side), side * 0.25), rng)
    rows, columns = (np.flatnonzero(page.max(axis) > 0.5) for axis in (1, 0))
    y, x = np.indices(page.shape).astype(float)
    y, x = y - rows.mean(), x - columns.mean()
    high, wide = np.ptp(rows) / 2, np.ptp(columns) / 2
    pen = max(1.0, side * rng.uniform(0.006, 0.025))
    gap, kind = side * rng.uniform(0.05, 0.12) + pen, rng.choice(["box", "circle", "underline"])
    if kind == "box":
        off = np.maximum(abs(y), abs(x)) - max(high, wide) - gap
    elif kind == "circle":
        off = np.hypot(y, x) - np.hypot(high, wide) - 0.7 * gap
    else:
        off = np.hypot(y - high - gap, np.maximum(abs(x) - wide - 5, 0))
    paper, ink = _levels(rng, 110)
    mark = np.clip(pen / 2 - abs(off) + 0.5, 0, 1)
    return _camera(paper + (ink - paper) * np.maximum(page, mark), rng)


def tiny(digit: int, rng: np.random.Generator) -> Grey:
    """Draw a digit somewhere in a large picture, on one or two hundredths of its side."""
    height, width = 900, 1200
    ink = _digit(digit, int(width * rng.uniform(0.015, 0.04)), rng.uniform(0.08, 0.16), rng)
    page = np.zeros((height, width))
    top, left = (rng.integers(10, a - b - 10) for a, b in zip(page.shape, ink.shape, strict=True))
    page[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return photograph(rng.uniform(190, 250) * (1 - rng.uniform(0.5, 0.9) * page), 2, rng)


def pencilled(digit: int, rng: np.random.Generator) -> Grey:
    """Draw a digit of 6 to 20 % contrast on grained paper, in light that falls off."""
    side = int(rng.integers(150, 300))
    contrast, paper = rng.uniform(0.06, 0.2), rng.uniform(170, 245)
    light = paper * (1 - contrast * _written(digit, (side, side), None, rng))
    light *= 1 - rng.uniform(0, 0.3) * np.linspace(0, 1, side)
    return photograph(light, rng.uniform(0, min(3.0, contrast * paper / 5)), rng)


def on_a_canvas(digit: int, rng: np.random.Generator) -> Grey:
    """Draw with a thin to very thick pen on a screen."""
    side = int(rng.choice([200, 280]))
    ink = _digit(digit, int(side * rng.uniform(0.15, 0.6)), rng.uniform(0.05, 0.36), rng)
    page = _placed(ink, (side, side), (0, 0, side, side), rng)
    return photograph(255 * (page if rng.random() < 0.5 else 1 - page), 0, rng)


def in_a_cell(digit: int | None, rng: np.random.Generator) -> Grey:
    """Cut a cell out of a puzzle: rests of its frame lie along borders, across corners, or none.

    Args:
        digit: None leaves the cell empty.
        rng: draws frame, pen and light.
    """
    side = int(rng.integers(28, 110))
    paper = rng.uniform(120, 250)
    ink = _frame_rests(side, rng) * rng.uniform(0.3, 0.9)
    if digit is not None:
        height, pen = int(side * rng.uniform(0.4, 0.75)), rng.uniform(0.06, 0.18)
        written = _digit(digit, max(10, height), pen, rng)
        box = _middle((side, side), side * 0.1)
        ink = np.maximum(ink, _placed(written, (side, side), box, rng) * rng.uniform(0.3, 0.9))
    slope = np.linspace(0, rng.uniform(0, 0.3), side)
    light = paper * (1 - ink) * (1 - (slope if rng.random() < 0.5 else slope[:, None]))
    return photograph(light, rng.uniform(0, 0.02 * paper), rng)


def _frame_rests(side: int, rng: np.random.Generator) -> Coverage:
    """Draw up to three lines along the borders of a square, each a little askew: (side, side)."""
    along, across = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    rests = np.zeros((side, side))
    for turn in rng.permutation(4)[: rng.integers(0, 4)]:
        half = side * rng.uniform(0.01, 0.05)
        line = across - side * rng.uniform(-0.02, 0.08) - along * rng.uniform(-0.06, 0.06)
        rests = np.maximum(rests, np.rot90(np.clip(half + 0.5 - abs(line), 0, 1), turn))
    return rests


KINDS: dict[str, Callable[[int, np.random.Generator], Grey]] = {
    "framed": framed,
    "on a desk": on_a_desk,
    "in a shadow": in_a_shadow,
    "with a mark": with_a_mark,
    "tiny": tiny,
    "pencilled": pencilled,
    "on a canvas": on_a_canvas,
    "in a cell": in_a_cell,
}


def draw_two_digits(rng: np.random.Generator) -> Grey:
    """Draw two digits next to each other, close or far apart."""
    width, height = int(rng.integers(160, 420)), 120
    page, half = np.zeros((height, width)), width // 2
    for left in (20, half + 5):
        box = (15, left, height - 15, left + half - 25)
        page = np.maximum(page, _written(int(rng.integers(10)), page.shape, box, rng))
    return _camera(240 - 215 * page, rng)


def draw_no_digit(rng: np.random.Generator) -> Grey:
    """Draw a dot, a polygon, a crossed-out digit, a hand's shadow or an empty cell."""
    side = int(rng.integers(110, 320))
    y, x = np.indices((side, side)) - side / 2
    kind, pen = rng.choice(NO_DIGITS), side * rng.uniform(0.008, 0.03)
    page = np.zeros((side, side))
    if kind == "empty cell":
        return in_a_cell(None, rng)
    if kind == "shadow":
        thick = side * rng.uniform(0.04, 0.09)
        tips = [(3.0 * thick * (i - 1.5), side * rng.uniform(-0.3, 0.1)) for i in range(4)]
        depth = np.max([thick - np.hypot(x - u, np.minimum(y - v, 0)) for u, v in tips], axis=0)
        page = np.clip(depth / rng.choice([1, 3, 8]) + 0.5, 0, 1) * rng.uniform(0.3, 0.7)
    elif kind == "dot":
        off = np.hypot(y, x) - side * rng.uniform(0.02, 0.12)
        page = np.clip(0.5 - off, 0, 1)
    elif kind == "polygon":
        corners, turn = rng.integers(3, 9), rng.uniform(0, np.pi)
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        off = np.max([np.cos(a) * x + np.sin(a) * y for a in angles], axis=0)
        page = np.clip(pen + 0.5 - abs(off - side * rng.uniform(0.15, 0.35)), 0, 1)
    else:
        page = _written(int(rng.integers(10)), (side, side), None, rng)
        for angle in rng.uniform(-0.9, 0.9, rng.integers(2, 5)) + rng.choice([0, np.pi / 2]):
            across = np.sin(angle) * x + np.cos(angle) * y - side * rng.uniform(-0.1, 0.1)
            stroke = np.clip(pen + 0.5 - abs(across), 0, 1) * (np.hypot(y, x) < 0.4 * side)
            page = np.maximum(page, stroke)
    return _camera(240 - 215 * page, rng)


NO_DIGITS = ("dot", "polygon", "crossed out", "shadow", "empty cell")


def _written(
    digit: int, shape: tuple[int, int], box: Box | None, rng: np.random.Generator
) -> Coverage:
    """Draw a digit into a box of an empty page, or into the middle."""
    top, left, bottom, right = box or _middle(shape, 0.1 * min(shape))
    room = min(bottom - top, right - left)
    ink = _digit(digit, max(10, int(room * rng.uniform(0.5, 0.9))), rng.uniform(0.05, 0.18), rng)
    return _placed(ink, shape, (top, left, bottom, right), rng)


def _placed(ink: Coverage, shape: tuple[int, int], box: Box, rng: np.random.Generator) -> Coverage:
    page = np.zeros(shape)
    top, left, bottom, right = box
    ink = ink[: bottom - top, : right - left]
    top += int((bottom - top - ink.shape[0]) * rng.uniform(0.1, 0.9))
    left += int((right - left - ink.shape[1]) * rng.uniform(0.1, 0.9))
    page[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return page


def _digit(digit: int, height: int, pen: float, rng: np.random.Generator) -> Coverage:
    """Draw one of a digit's shapes, by `drawing` or by the generator of handwriting."""
    if rng.random() < 0.5:
        ways = [strokes for of, strokes in STROKES if of == digit]
        written = handwritten(ways[rng.integers(len(ways))], rng, rng.uniform(0.005, 0.03))
        return draw_ink([smooth(stroke, 10) for stroke in written], height, pen)
    shapes = allographs()[digit]
    weights = np.array([shape.weight for shape in shapes])
    shape = shapes[rng.choice(len(shapes), p=weights / weights.sum())]
    points = [[(x, y) for x, y, _ in stroke] for stroke in shape.strokes if len(stroke) > 1]
    corners = [[c for _, _, c in stroke] for stroke in shape.strokes if len(stroke) > 1]
    if not points:  # a matrix of dots
        return _digit(digit, height, pen, rng)
    written = handwritten(points, rng, rng.uniform(0.005, 0.03) * shape.care)
    return draw_ink(
        [piece for line in zip(written, corners, strict=True) for piece in _smooth_pieces(*line)],
        height,
        pen,
    )


def _smooth_pieces(points: NDArray[np.float64], corners: list[bool]) -> list[NDArray[np.float64]]:
    last = len(points) - 1
    cuts = [0, *(i for i in range(1, last) if corners[i]), last]
    return [smooth(points[a : b + 1], 6) for a, b in itertools.pairwise(cuts)]


def _middle(shape: tuple[int, int], margin: float) -> Box:
    return int(margin), int(margin), int(shape[0] - margin), int(shape[1] - margin)


def _levels(rng: np.random.Generator, contrast: float) -> tuple[float, float]:
    """Return grey levels of paper and ink, at least a contrast apart, either the brighter."""
    dark = rng.uniform(0, 255 - contrast)
    levels = (rng.uniform(dark + contrast, 255), dark)
    return levels if rng.random() < 0.7 else levels[::-1]


def _camera(light: Light, rng: np.random.Generator) -> Grey:
    return photograph(light, float(rng.choice([0, 2, 5])), rng)
