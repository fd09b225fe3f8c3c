"""Pictures that show no digit, to measure how well confidence tells them from digits.

    >>> pictures = draw_negatives(100, seed=0)
    >>> list(pictures)
    ['letters', 'scribbles', 'blank paper', 'ruled paper']

They are drawn from strokes, in any pen, in dark ink or bright, on paper as people have it. The
same n and seed give the same pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]  # a picture (H, W), 0 black, 255 white
    Coverage = NDArray[np.float64]  # how much of each pixel is inked, (H, W), 0–1
    Points = NDArray[np.float64]  # (n, 2): x, y in a box 1 high, y down

# Capitals that no hand writes like a digit. Left out are O Q D C U (0), I J L (1), Z (2), B (8, 3),
# Y (4), S (5), G (6), T (7) and P (9): a reader who takes one of those for its digit is not wrong.
LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "A": [[(0.0, 1.0), (0.35, 0.0), (0.7, 1.0)], [(0.13, 0.65), (0.57, 0.65)]],
    "E": [[(0.6, 0.0), (0.0, 0.0), (0.0, 1.0), (0.6, 1.0)], [(0.0, 0.5), (0.5, 0.5)]],
    "F": [[(0.6, 0.0), (0.0, 0.0), (0.0, 1.0)], [(0.0, 0.47), (0.5, 0.47)]],
    "H": [[(0.0, 0.0), (0.0, 1.0)], [(0.65, 0.0), (0.65, 1.0)], [(0.0, 0.5), (0.65, 0.5)]],
    "K": [[(0.0, 0.0), (0.0, 1.0)], [(0.6, 0.0), (0.0, 0.55)], [(0.2, 0.4), (0.62, 1.0)]],
    "M": [[(0.0, 1.0), (0.05, 0.0), (0.42, 0.65), (0.8, 0.0), (0.85, 1.0)]],
    "N": [[(0.0, 1.0), (0.0, 0.0), (0.65, 1.0), (0.65, 0.0)]],
    "R": [[(0.0, 1.0), (0.0, 0.0), (0.4, 0.02), (0.55, 0.14), (0.55, 0.36), (0.4, 0.48),
           (0.0, 0.5)], [(0.25, 0.5), (0.6, 1.0)]],
    "V": [[(0.0, 0.0), (0.35, 1.0), (0.7, 0.0)]],
    "W": [[(0.0, 0.0), (0.22, 1.0), (0.45, 0.3), (0.68, 1.0), (0.9, 0.0)]],
    "X": [[(0.0, 0.0), (0.65, 1.0)], [(0.65, 0.0), (0.0, 1.0)]],
}  # fmt: skip
ZOOM = 3  # drawn larger, then averaged, for soft edges


def draw_negatives(n: int, seed: int) -> dict[str, list[Grey]]:
    """Draw n pictures of each kind.

    Returns:
        For each kind its pictures, uint8 (H, W), about 80 to 250 pixels a side.
    """
    rng = np.random.default_rng(seed)
    return {kind: [draw(rng) for _ in range(n)] for kind, draw in KINDS.items()}


def _letter(rng: np.random.Generator) -> Grey:
    """Draw a capital in some hand: slanted, stretched, no line quite where it should be."""
    strokes = LETTERS[str(rng.choice(list(LETTERS)))]
    hand = np.array([[rng.uniform(0.85, 1.2), 0], [rng.normal(-0.1, 0.1), 1]])
    return _on_paper([(stroke + rng.normal(0, 0.02, (len(stroke), 2))) @ hand
                      for stroke in map(np.array, strokes)], rng)  # fmt: skip


def _scribble(rng: np.random.Generator) -> Grey:
    """Draw a tangle of loops, or the zigzag that crosses something out."""
    turns = int(rng.integers(6, 12))
    if rng.random() < 0.5:
        corners = rng.uniform(0, 1, (2 * turns, 2))
    else:
        to_and_fro = np.arange(2 * turns) % 2
        corners = np.stack([to_and_fro, np.linspace(0, 1, 2 * turns)], axis=1)
        corners = corners @ _turned(rng.uniform(0, np.pi)) + rng.normal(0, 0.06, corners.shape)
    return _on_paper([lay_curve(corners)], rng)


def _blank(rng: np.random.Generator) -> Grey:
    """Draw paper without anything on it."""
    return _rounded(_paper(_size(rng), rng), rng)


def _ruled(rng: np.random.Generator) -> Grey:
    """Draw lined or squared paper without anything on it, slightly out of level."""
    light = _paper(_size(rng), rng)
    pitch, tilt = rng.uniform(12, 40), rng.uniform(-0.05, 0.05)
    y, x = np.indices(light.shape)
    printed = ((y + tilt * x) % pitch) < 1.5
    if rng.random() < 0.5:
        printed |= ((x - tilt * y) % pitch) < 1.5
    return _rounded(light * (1 - rng.uniform(0.1, 0.3) * printed), rng)


KINDS: dict[str, Callable[[np.random.Generator], Grey]] = {
    "letters": _letter,
    "scribbles": _scribble,
    "blank paper": _blank,
    "ruled paper": _ruled,
}


def _on_paper(strokes: list[Points], rng: np.random.Generator) -> Grey:
    """Ink strokes on plain paper, with some room around them."""
    ink = _inked(strokes, height=int(rng.integers(50, 150)), pen=rng.uniform(0.05, 0.16))
    room = rng.integers(5, 50, 4)
    coverage = np.pad(ink, ((room[0], room[1]), (room[2], room[3])))
    light = _paper(coverage.shape, rng)
    return _rounded(light * (1 - coverage * rng.uniform(0.6, 0.9)), rng)


def _inked(strokes: list[Points], height: int, pen: float) -> Coverage:
    """Draw strokes with a round pen, a part of their height wide, and crop to the ink."""
    points = np.concatenate(strokes)
    origin, extent = points.min(axis=0), np.ptp(points, axis=0)
    radius = ZOOM * height * pen / 2
    scale = (ZOOM * height - 2 * radius) / extent[1]
    width = ZOOM * int(np.ceil((extent[0] * scale + 2 * radius) / ZOOM))
    canvas = Image.new("L", (width, ZOOM * height))
    brush = ImageDraw.Draw(canvas)
    for stroke in strokes:
        places = [tuple(place) for place in (stroke - origin) * scale + radius]
        brush.line(places, fill=255, width=round(2 * radius))
        for x, y in places:  # the pen is round at ends and corners
            brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(canvas.reduce(ZOOM), np.float64) / 255


def _size(rng: np.random.Generator) -> tuple[int, ...]:
    return int(rng.integers(80, 250)), int(rng.integers(80, 250))


def _paper(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Light a sheet, less from one side than from the other: brightness (H, W)."""
    y, x = np.meshgrid(*(np.linspace(-0.5, 0.5, side) for side in shape), indexing="ij")
    downhill = np.stack([x, y], axis=-1) @ _turned(rng.uniform(0, 2 * np.pi))[0]
    return np.asarray(rng.uniform(190, 245) - rng.uniform(0, 40) * (downhill + 0.5))


def _rounded(light: NDArray[np.float64], rng: np.random.Generator) -> Grey:
    """Take the picture: a camera's grain, and now and then bright on dark."""
    grainy = light + rng.normal(0, rng.uniform(0, 6), light.shape)
    levels = grainy.clip(0, 255).round().astype(np.uint8)
    return 255 - levels if rng.random() < 0.3 else levels


def _turned(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def lay_curve(points: Points, positions: int = 20) -> Points:
    """Lay a smooth curve through points (Catmull-Rom), as so many positions a span."""
    ends = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, positions)[:, None]
    spans = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        cubic = (3 * (b - c) + d - a) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
        spans.append(b + 0.5 * (cubic + (c - a) * t))
    return np.concatenate(spans)
