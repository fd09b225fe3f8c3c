"""Draw pictures that show no digit, to train on: `draw_outliers(15_000, seed=0)`.

A network that is trained on digits alone is sure of whatever it sees. Trained with flat targets on
other pictures, it is unsure of others still (Hendrycks et al. 2019, "Deep Anomaly Detection with
Outlier Exposure"). Letters, signs, polygons, frames, scribbles, several digits, digits that are
crossed out, cut off or much too small, dark digits on bright paper, dots, shadows and paper alone,
drawn as `handwriting.py` draws digits. The evaluation's own pictures are drawn by other code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data.allographs import Skeleton, allographs, parse
from mnistnet.data.handwriting import SIDE, draw_digits, draw_shapes, uniform
from mnistnet.data.strokes import rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Floats = NDArray[np.float32]

# A shape a line; strokes as in allographs.py. Letters and signs that are no digit in any hand.
LETTERS = """
0,100 34,0! 68,100 / 12,64 58,64
6,100 4,60 20,8 40,0 56,20 58,100 / 4,56 58,56
56,0 0,0! 0,100! 58,100 / 0,48 46,48
52,10 24,0 8,20 30,46! 4,60 4,90 30,100 58,86
54,0 0,0! 0,100 / 0,46 42,46
0,0 0,100 / 58,0 58,100 / 0,50 58,50
0,0 0,100 / 54,0 0,56! 56,100
0,100 4,0! 38,62! 74,0! 80,100
0,100 0,0! 56,100! 56,0
0,100 0,0! 34,2 50,22 34,46 0,50! 54,100
0,0 30,100! 62,0
0,0 20,100! 42,24! 64,100! 86,0
0,0 56,100 / 56,0 0,100
50,56 22,44 2,70 24,98 50,70 52,0! 54,98
2,62 44,56 34,32 8,36 0,70 22,98 52,86
52,6 34,0 22,22 20,100 / 2,44 44,44
0,0 0,98! 6,60 34,52 42,98
0,0 0,98 / 38,40 2,66! 42,98
0,40 2,98! 8,50 26,44 32,98
0,98 2,40! 22,42 28,98! 32,48 52,42 58,98
0,40 2,98! 10,54 38,42
24,0 22,86 40,98 54,84 / 2,34 48,32
0,40 4,88 26,98 44,40! 46,98
0,38 24,98! 48,38
0,38 16,98! 32,52! 46,98! 64,38
0,40 40,98 / 42,40 0,98
0,100 30,0! 60,100! 0,100
0,30 10,14 24,24 12,100! 40,10 56,24 42,60 56,100 70,88
50,20 20,0 0,50 22,100 56,76 / 30,56 60,56! 60,100
0,100 6,0! 30,40 44,4! 56,100
"""
SIGNS = """
30,0 30,60 / 0,30 60,30
0,0 60,0 / 0,26 60,26
0,0 100,2
0,10 26,0 50,12 80,2
30,0 30,60 / 4,14 56,46 / 56,14 4,46
0,60 24,100! 80,0
0,30 90,30 / 60,4 90,30! 60,56
16,0 6,100 / 46,0 36,100 / 0,34 56,34 / 0,66 54,66
50,100 8,24 24,0 40,20 0,70 16,100 56,58
4,6 5,7 / 70,90 71,91 / 70,0 4,100
40,0 0,40! 40,80
0,0 40,40! 0,80
0,50 100,50 / 50,0 50,100
50,10 20,0 0,40 20,80 54,70 / 40,-10 24,90
0,0 1,1
"""
SHAPES = """
0,0 100,0! 100,100! 0,100! 0,0
0,0 140,0! 140,100! 0,100! 0,0
0,0 100,0! 100,100! 0,100! 0,0 / 6,6 94,6! 94,94! 6,94! 6,6
50,0 100,50! 50,100! 0,50! 50,0
50,100 0,40 10,4 40,8 50,30! 60,8 90,4 100,40 50,100
50,0 80,96! 0,36! 100,36! 20,96! 50,0
50,0 14,14 0,50 14,86 50,100 86,86 100,50 86,14 50,0 / 34,34 35,38 / 66,34 67,38 / 26,62 50,80 74,62
50,0 14,14 0,50 14,86 50,100 86,86 100,50 86,14 50,0 / 32,38 34,38 / 66,38 68,38 / 30,72 70,72
50,0 40,40! 0,50! 40,60! 50,100! 60,60! 100,50! 60,40! 50,0
0,60 30,20 60,60 90,20 120,60
0,0 1,1 / 60,40 61,41 / 10,90 11,91
0,0 1,0 / 50,0 51,0 / 100,0 101,0
0,0 1,0 / 60,10 61,10
50,0 10,16 4,60 44,76 74,50 60,22 36,30 36,50 50,52
0,40 30,0 60,40! 60,100! 0,100! 0,40
"""
SCRIBBLES, SEVERAL, CROSSED, POLYGONS = 120, 160, 120, 60  # shapes composed for each seed
KINDS = 11  # equally many pictures of each kind below, in turn


def draw_outliers(n: int, seed: int, first: int = 0) -> Images:
    """Draw pictures of no digit in the form in which a network would see them.

    Args:
        n: how many.
        seed: of all of them.
        first: the number of the first; picture i is the same however many are drawn.

    Returns:
        uint8 (n, 28, 28), ink bright on dark.
    """
    index = np.arange(first, first + n)
    kinds = (index + index // KINDS) % KINDS  # so that each meets every digit
    numbers = uniform(n, seed, first, stream=1)
    composed = np.random.Generator(np.random.Philox(key=np.array([seed, 1], np.uint64)))
    letters = [parse(text, pen=0.8) for text in LETTERS.splitlines() if text]
    several = [_several(composed) for _ in range(SEVERAL)]
    by_strokes: dict[int, Sequence[Skeleton]] = {
        0: letters,
        1: letters,
        2: [parse(text) for text in SIGNS.splitlines() if text],
        3: [parse(text, care=0.4) for text in SHAPES.splitlines() if text]
        + [_polygon(composed) for _ in range(POLYGONS)],
        4: [_scribble(composed) for _ in range(SCRIBBLES)],
        5: several,
        6: [_crossed_out(composed) for _ in range(CROSSED)] + [_ruled(composed) for _ in range(30)],
    }
    others: dict[int, Callable[[Floats, Images], Images]] = {
        7: _misframed,
        8: _dark_on_bright,
        9: _paper,
        10: _blob,
    }
    images = np.empty((n, SIDE, SIDE), np.uint8)
    for kind, shapes in by_strokes.items():
        which = np.flatnonzero(kinds == kind)
        images[which] = draw_shapes(shapes, numbers[which])
    digits = draw_digits(n, seed + 1, first).images
    for kind, change in others.items():
        if len(which := np.flatnonzero(kinds == kind)):
            images[which] = change(numbers[which], digits[which])
    return images


# ---- shapes that are composed


def _several(random: np.random.Generator) -> Skeleton:
    """Compose two or three digits in a row, close together or apart, or touching."""
    strokes, right = [], 0.0
    for _ in range(2 if random.random() < 0.7 else 3):
        digit = _any_digit(random)
        size, up = random.uniform(0.75, 1.1), random.uniform(-0.15, 0.15)
        left = min(x for stroke in digit.strokes for x, _, _ in stroke)
        moved = [
            tuple((right + (x - left) * size, y * size + up, corner) for x, y, corner in stroke)
            for stroke in digit.strokes
        ]
        right = max(x for stroke in moved for x, _, _ in stroke) + random.uniform(0, 0.5)
        strokes += moved
    return Skeleton(tuple(strokes), pen=0.6)


def _crossed_out(random: np.random.Generator) -> Skeleton:
    """Compose a digit and what crosses it out: an X, lines, or a zigzag."""
    far = random.uniform(-0.15, 0.1)
    left, right = far, 0.6 - far
    way = random.integers(3)
    if way == 0:
        lines = [[(left, 0.0), (right, 1.0)], [(right, 0.0), (left, 1.0)]]
    elif way == 1:
        rows = np.linspace(0.25, 0.75, int(random.integers(2, 5)))
        tilt = random.uniform(-0.3, 0.3)
        lines = [[(left, y + tilt / 2), (right, y - tilt / 2)] for y in rows]
    else:
        rows = np.linspace(0.1, 0.9, int(random.integers(5, 9)))
        lines = [[(left if i % 2 else right, y) for i, y in enumerate(rows)]]
    crossing = tuple(tuple((x, float(y), True) for x, y in line) for line in lines)
    return Skeleton(_any_digit(random).strokes + crossing, pen=0.6)


def _any_digit(random: np.random.Generator) -> Skeleton:
    shapes = [shape for shape in allographs()[int(random.integers(10))] if shape.care == 1]
    return shapes[int(random.integers(len(shapes)))]


def _ruled(random: np.random.Generator) -> Skeleton:
    """Compose ruled or squared paper, or what a cut leaves of it."""
    horizontal, vertical = random.integers(2, 7), random.choice([0, 0, 1, 2, 4])
    width = random.uniform(0.6, 1.4)
    lines = [((0.0, y, True), (width, y, True)) for y in np.linspace(0, 1, horizontal).tolist()]
    lines += [((x, 0.0, True), (x, 1.0, True)) for x in np.linspace(0, width, vertical).tolist()]
    return Skeleton(tuple(lines), care=0.15, pen=0.5)


def _polygon(random: np.random.Generator) -> Skeleton:
    """Compose a polygon of three to seven corners, or some sides of a frame."""
    n = int(random.integers(3, 8))
    if random.random() < 0.6:
        angle = random.uniform(0, 6.3) + np.arange(n) * 2 * np.pi / n
        far = 1 + random.normal(0, random.choice([0, 0.15]), n)
        corners = np.stack([far * np.cos(angle), far * np.sin(angle)], 1) / 2
        sides = n
    else:
        turn, sides = random.integers(4), int(random.integers(2, 5))
        corners = np.roll([[0, 0], [1, 0], [1, 1], [0, 1]], turn, 0) * random.uniform(0.8, 1.2, 2)
    around = [*corners.tolist(), *corners.tolist()][: sides + 1]
    return Skeleton((tuple((x, y, True) for x, y in around),), care=0.2, pen=0.6)


def _scribble(random: np.random.Generator) -> Skeleton:
    """Compose a tangle, a zigzag in any direction, or a few strokes that make no shape."""
    n = int(random.integers(8, 22))
    if random.random() < 0.4:
        points = random.uniform(0, 1, (n, 2))
    elif random.random() < 0.6:
        points = np.stack([np.arange(n) % 2, np.linspace(0, 1, n)], 1)
        points = (points + random.normal(0, 0.06, points.shape)) @ rotation(random.uniform(0, 3.1))
    else:
        points = np.cumsum(random.normal(0, 1, (n, 2)), 0)
    points = (points - points.min(0)) / np.ptp(points, 0) * random.uniform(0.5, 1, 2)
    corners = random.random(n) < random.choice([0, 0.5])
    whole = tuple((float(x), float(y), bool(c)) for (x, y), c in zip(points, corners, strict=True))
    cut = int(random.choice([n, n, n // 2]))
    return Skeleton((whole,) if cut == n else (whole[:cut], whole[cut:]))


# ---- what is no shape


def _misframed(numbers: Floats, digits: Images) -> Images:
    """Return digits much too small, much too large, or half out of the picture."""
    way, sign = numbers[:, 0], np.sign(numbers[:, 1:3] - 0.5)
    zoom = np.select([way < 0.35, way < 0.7], [0.28 + 0.22 * way / 0.35, 1 + 2.6 * way], 1)
    middle = np.select(
        [way[:, None] < 0.35, way[:, None] < 0.7],
        [(numbers[:, 3:5] - 0.5) * 12, (numbers[:, 3:5] - 0.5) * 14 * zoom[:, None]],
        sign * (numbers[:, 3:5] > numbers[:, 4:2:-1]) * (8 + 5 * numbers[:, 5:6]),
    )
    position = np.arange(SIDE) - (SIDE - 1) / 2
    reach = np.maximum(1, 1 / zoom)[:, None, None]
    down, across = (
        np.maximum(
            0,
            1
            - np.abs(
                (position - middle[:, axis, None])[:, :, None] / zoom[:, None, None] - position
            )
            / reach,
        )
        / reach
        for axis in range(2)
    )
    grey = np.einsum("nia,nab->nib", down, digits.astype(np.float64))
    grey = np.einsum("nib,njb->nij", grey, across)
    most = np.maximum(grey.max((1, 2), keepdims=True), 1)
    return np.asarray((grey * np.minimum(255 / most, 2)).clip(0, 255).round(), np.uint8)


def _dark_on_bright(numbers: Floats, digits: Images) -> Images:
    """Return digits whose paper is taken for ink, as far as a rectangle reaches."""
    position = np.arange(SIDE)
    low, high = 7 * numbers[:, :2] - 2, SIDE - 7 * numbers[:, 2:4] + 2
    down, across = (
        (position >= low[:, axis, None]) & (position < high[:, axis, None]) for axis in range(2)
    )
    return (255 - digits) * (down[:, :, None] & across[:, None, :])


def _blob(numbers: Floats, digits: Images) -> Images:
    """Return discs, and bars with blurred ends: dots, and the shadows of fingers."""
    del digits
    is_disc = numbers[:, 0] < 0.35
    angle = np.where(numbers[:, 1] < 0.6, 0.3, 1.6) * (2 * numbers[:, 2] - 1)
    soft = np.where(is_disc, 1 + 8 * numbers[:, 3] ** 6, 3 + 7 * numbers[:, 3])[:, None, None]
    radius = np.where(is_disc, 10 - 6 * numbers[:, 4] ** 3, 1.5 + 4 * numbers[:, 4])[:, None, None]
    half = np.where(is_disc, 11 * numbers[:, 5] ** 4, 10 - 4 * numbers[:, 5])[:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    x, y = x - 4 * (numbers[:, 6, None, None] - 0.5), y - 4 * (numbers[:, 7, None, None] - 0.5)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = np.maximum(np.abs(x * sin + y * cos) - np.maximum(half - radius, 0), 0)
    depth = ((radius - np.hypot(along, x * cos - y * sin)) / soft + 0.5).clip(0, 1)
    return np.asarray(255 * depth / depth.max((1, 2), keepdims=True), np.uint8)


def _paper(numbers: Floats, digits: Images) -> Images:
    """Return grain, stains, gradients and shadows of paper whose contrast is stretched."""
    del digits
    n, most = len(numbers), 12
    knots = 2 + np.floor((most - 1) * numbers[:, 0] ** 2)
    place = np.linspace(0, 1, SIDE)[None] * (knots[:, None] - 1)
    weights = np.maximum(0, 1 - np.abs(place[:, :, None] - np.arange(most)))
    coarse = numbers[:, 10 : 10 + most**2].reshape(n, most, most)
    grey = np.einsum("nia,nab,njb->nij", weights, coarse, weights, optimize=True)
    angle = 6.3 * numbers[:, 1, None]
    wave = np.sin(np.arange(SIDE**2) * (1 + 900 * numbers[:, 2:3]) + 40 * angle) * 1e4
    grain = (wave - np.floor(wave)).reshape(n, SIDE, SIDE)
    share = (numbers[:, 3] ** 2)[:, None, None]
    grey = (1 - share) * grey + share * grain
    low, high = (np.quantile(grey, q, axis=(1, 2), keepdims=True) for q in (0.5, 0.99))
    low = low - (high - low) * (2 * numbers[:, 4, None, None] - 1)
    return np.asarray(((grey - low) / (high - low) * 255).clip(0, 255).round(), np.uint8)
