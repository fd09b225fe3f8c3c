"""Draw pictures from strokes: handwriting, its ink, and the paper under it.

    strokes = [smooth(stroke) for stroke in handwritten(LETTER, rng)]
    coverage = draw_ink(strokes, height=100, pen=0.1)           # (100, width), 0–1

A stroke is a line through points (x, y) with y pointing down. Nothing is read from a file: the
same generator gives the same pictures. They are used where nobody's data may be (a bundle's
stored pictures), where no data set exists (pictures of no digit), and in tests.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]  # a picture (H, W), 0 black, 255 white
    Coverage = NDArray[np.float64]  # the inked share of each pixel, (H, W), 0–1
    Light = NDArray[np.float64]  # grey levels (H, W) before rounding
    Points = NDArray[np.float64]  # (n, 2): x, y
    Stroke = Sequence[tuple[float, float]]


def handwritten(
    strokes: Sequence[Stroke], rng: np.random.Generator, shake: float = 0.02
) -> list[Points]:
    """Return strokes as somebody might write them: stretched, slanted, and every point moved.

    `shake` is the standard deviation of the moves. A point that several strokes share stays one.
    """
    hand = np.array([[rng.uniform(0.85, 1.2), 0], [rng.normal(-0.1, 0.1), 1]])
    shaken: dict[tuple[float, float], Points] = {}
    for point in itertools.chain.from_iterable(strokes):
        if point not in shaken:
            shaken[point] = (point + rng.normal(0, shake, 2)) @ hand
    return [np.array([shaken[point] for point in stroke]) for stroke in strokes]


def smooth(points: Points, positions: int = 20) -> Points:
    """Return a Catmull-Rom curve through points, as so many positions for each span."""
    ends = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, positions, endpoint=False)[:, None]
    spans = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        cubic = (3 * (b - c) + d - a) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
        spans.append(b + 0.5 * (cubic + (c - a) * t))
    return np.concatenate([*spans, points[-1:]])


def rotation(angle: float) -> NDArray[np.float64]:
    """Return the matrix (2, 2) that rotates points (n, 2) by an angle in radians."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def draw_ink(strokes: Sequence[Points], height: int, pen: float) -> Coverage:
    """Draw strokes scaled to a height in pixels, cropped to their ink.

    Args:
        strokes: in any unit of length.
        height: of the ink, in pixels.
        pen: diameter of the round pen, as a share of the height.

    Returns:
        0–1 (height, some width).
    """
    points = np.concatenate(strokes)
    origin, extent = points.min(axis=0), np.ptp(points, axis=0)
    radius = height * pen / 2
    scale = (height - 2 * radius) / extent[1]
    width = int(np.ceil(extent[0] * scale + 2 * radius))
    placed = [(stroke - origin) * scale + radius - 0.5 for stroke in strokes]
    return draw_lines(placed, (height, width), radius)


def draw_lines(strokes: Iterable[Points], shape: tuple[int, int], radius: float) -> Coverage:
    """Draw lines with a round pen into a picture, anti-aliased by the distance to the line.

    Args:
        strokes: points in pixels; the centre of the first pixel is (0, 0).
        shape: of the picture, (H, W).
        radius: of the pen, in pixels.

    Returns:
        0–1 (H, W).
    """
    distance = np.full(shape, np.inf)
    for start, end in itertools.chain.from_iterable(map(itertools.pairwise, strokes)):
        left, top = np.maximum(np.minimum(start, end) - radius, 0).astype(int)
        right, bottom = np.ceil(np.maximum(start, end) + radius + 1).clip(0).astype(int)
        near = distance[top : bottom + 1, left : right + 1]  # a view of what the pen can reach
        x, y = np.arange(near.shape[1]) + left, np.arange(near.shape[0])[:, None] + top
        np.minimum(near, _distance(x - start[0], y - start[1], end - start), out=near)
    return np.clip(radius + 0.5 - distance, 0, 1)


def _distance(x: NDArray[np.float64], y: NDArray[np.float64], along: Points) -> NDArray[np.float64]:
    """Return how far (x, y) is from the straight line between (0, 0) and `along`."""
    dx, dy = along
    nearest = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
    away_x, away_y = x - nearest * dx, y - nearest * dy
    return np.asarray(np.sqrt(away_x * away_x + away_y * away_y))


def light_paper(shape: tuple[int, int], brightness: float, falloff: float, angle: float) -> Light:
    """Return an empty sheet that gets darker by `falloff` grey levels in one direction."""
    if not falloff:
        return np.full(shape, float(brightness))
    y, x = np.meshgrid(*(np.linspace(-0.5, 0.5, side) for side in shape), indexing="ij")
    downhill = np.stack([x, y], axis=-1) @ rotation(angle)[0]
    return np.asarray(brightness - falloff * (downhill + 0.5))


def draw_ruling(
    shape: tuple[int, int], pitch: float, width: float, *, tilt: float, squared: bool
) -> NDArray[np.bool_]:
    """Return where lines are printed; pitch and width in pixels, tilt in pixels a pixel."""
    y, x = np.indices(shape)
    printed: NDArray[np.bool_] = ((y + tilt * x) % pitch) < width
    return printed | (((x - tilt * y) % pitch) < width) if squared else printed


def photograph(light: Light, grain: float, rng: np.random.Generator) -> Grey:
    """Return the picture of a camera whose noise deviates by `grain` grey levels."""
    noisy = light + rng.normal(0, grain, light.shape) if grain else light
    return noisy.clip(0, 255).round().astype(np.uint8)
