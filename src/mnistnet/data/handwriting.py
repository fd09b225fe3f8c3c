"""Draw digits as people write them, in MNIST's form: `draw_digits(60_000, seed=0)`.

Each picture takes one of the shapes in `allographs.py`, moves its points, bends, slants and
stretches it, and draws it with a pen between hair-thin and so thick that counters close. Every
random number comes from a counter-based generator: picture i of a seed is the same however many
are drawn. All pictures of a shape are drawn at once.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data.allographs import PRINTED_CARE, allographs
from mnistnet.data.sets import Split
from mnistnet.data.strokes import smooth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnistnet.data.allographs import Skeleton

    Floats = NDArray[np.float32]

SIDE, BOX, CENTRE = 28, 20, 14  # pixels: the picture, the digit's longer side, the centre of mass
CANVAS = BOX + 2  # pixels a side while drawing, since ink fades beyond the box
AT_ONCE = 64  # pictures; their canvases stay in the processor's cache
DRAWN = 160  # random numbers a picture; a multiple of what the generator makes at once
THINNEST, THICKEST = 0.035, 0.38  # diameters of pens, as a share of the longer side
POSITIONS = 4  # straight pieces that a curve has between two points


@dataclass(frozen=True)
class Hand:
    """How N pictures are written, each with its own.

    Attributes:
        moves: float32 (N, points, 2), heights: how far each control point is moved.
        matrix: float32 (N, 2, 2), slant, stretch and rotation.
        bend: float32 (N, 2, 3): how much of y², x·y and a wave in y is added to x, and likewise
            of x², x·y and a wave in x to y.
        tremor: float32 (N, 3): amplitude in heights, frequency per position, phase.
        angular: float32 (N,): 0 for smooth curves, 1 for straight lines between the points.
        radius: float32 (N,), pixels, of the pen.
        nib: float32 (N, 2, 2), symmetric, of determinant 1: in its coordinates the pen is round.
        edge: float32 (N,), pixels over which ink fades to paper.
    """

    moves: Floats
    matrix: Floats
    bend: Floats
    tremor: Floats
    angular: Floats
    radius: Floats
    nib: Floats
    edge: Floats


def draw_digits(n: int, seed: int, first: int = 0) -> Split:
    """Draw handwritten digits.

    Args:
        n: how many.
        seed: of all of them.
        first: the number of the first; picture i is of the digit i modulo 10.

    Returns:
        n images in MNIST's form, and what they show.
    """
    labels = (np.arange(first, first + n) % 10).astype(np.uint8)
    numbers = uniform(n, seed, first)
    images = np.empty((n, SIDE, SIDE), np.uint8)
    for digit, shapes in enumerate(allographs()):
        which = np.flatnonzero(labels == digit)
        images[which] = draw_shapes(shapes, numbers[which])
    return Split(images, labels)


def uniform(n: int, seed: int, first: int, stream: int = 0) -> Floats:
    """Draw numbers between 0 and 1: float32 (n, DRAWN), each row by its index alone."""
    counter = [first * (DRAWN // 8), 0, 0, stream]
    philox = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=counter)
    return np.random.Generator(philox).random((n, DRAWN), np.float32)


def draw_shapes(shapes: Sequence[Skeleton], numbers: Floats) -> NDArray[np.uint8]:
    """Draw a picture for each row of random numbers: uint8 (N, 28, 28)."""
    weights = np.cumsum([shape.weight for shape in shapes])
    chosen = np.searchsorted(weights, numbers[:, 0] * weights[-1], side="right")
    images = np.empty((len(numbers), SIDE, SIDE), np.uint8)
    for index, shape in enumerate(shapes):
        which = np.flatnonzero(chosen == index)
        for some in np.split(which, range(AT_ONCE, len(which), AT_ONCE)):
            images[some] = _draw(shape, numbers[some, 2:])
    return images


def _draw(shape: Skeleton, numbers: Floats) -> NDArray[np.uint8]:
    """Draw one shape in as many hands as there are rows of random numbers."""
    points, curved, straight, pieces = _curves(shape)
    hand = _hand(numbers, len(points), shape)
    control = points + hand.moves
    mix = hand.angular[:, None, None]
    line = (1 - mix) * np.einsum("sk,nkd->nsd", curved, control)
    line += mix * np.einsum("sk,nkd->nsd", straight, control)
    line = _written(line, hand)
    return _centred(_render(_placed(line, hand), pieces, hand))


def _hand(numbers: Floats, points: int, shape: Skeleton) -> Hand:
    """Draw how pictures are written, from numbers between 0 and 1."""
    u, normal = iter(numbers[:, :16].T), _normal(numbers[:, 16:])
    care = np.float32(shape.care)
    shake = (0.012 + 0.035 * next(u) ** 2) * care
    trembles = (next(u) < 0.3) * care
    tremor = np.stack([0.012 * next(u) * trembles, 1 + 2 * next(u), 6.3 * next(u)], 1)
    thinnest = THINNEST if shape.care > PRINTED_CARE else 2 * THINNEST
    return Hand(
        moves=normal[:, 10 : 10 + 2 * points].reshape(-1, points, 2) * shake[:, None, None],
        matrix=_slanted(*(care * normal[:, i] for i in range(4))),
        bend=normal[:, 4:10].reshape(-1, 2, 3) * np.array([0.06, 0.06, 0.025], np.float32) * care,
        tremor=tremor.astype(np.float32),
        angular=np.maximum(next(u) * 1.5 - 0.7, 0),
        radius=BOX / 2 * thinnest * (THICKEST * shape.pen / thinnest) ** next(u),
        nib=_stretched_along(np.pi * next(u), np.exp((next(u) < 0.3) * next(u) * 0.45)),
        edge=0.9 + 0.8 * next(u) ** 2,
    )


def _slanted(slant: Floats, width: Floats, height: Floats, turn: Floats) -> Floats:
    """Return the matrices of slant, stretch and rotation that normal numbers stand for."""
    x, y, across = np.exp(0.22 * width), np.exp(0.05 * height), -0.05 - 0.18 * slant
    cos, sin = np.cos(0.08 * turn), np.sin(0.08 * turn)
    parts = [cos * x, cos * across - sin * y, sin * x, sin * across + cos * y]
    return np.stack(parts, 1).reshape(-1, 2, 2).astype(np.float32)


def _normal(numbers: Floats) -> Floats:
    """Turn pairs of uniform numbers into normally distributed ones (Box and Muller 1958)."""
    radius, angle = np.sqrt(-2 * np.log(1 - numbers[:, ::2])), 2 * np.pi * numbers[:, 1::2]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _stretched_along(angle: Floats, ratio: Floats) -> Floats:
    """Return the matrices that stretch by `ratio` in a direction, and shrink across."""
    cos, sin, across = np.cos(angle), np.sin(angle), 1 / ratio
    xx, yy = ratio * cos**2 + across * sin**2, ratio * sin**2 + across * cos**2
    xy = (ratio - across) * cos * sin
    return np.stack([xx, xy, xy, yy], 1).reshape(-1, 2, 2).astype(np.float32)


def _curves(shape: Skeleton) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Return a shape's control points and what makes lines of them.

    Returns:
        The points (K, 2); matrices (S, K) from these to S positions along smooth curves (Catmull
        and Rom 1974), and along straight lines; the first of each two neighbouring positions.
    """
    points = np.array([p[:2] for stroke in shape.strokes for p in stroke], np.float32)
    low, high = points.min(0), points.max(0)
    points = (points - (low + high) / 2) / (high - low).max()
    curved, straight, base, position = [], [], 0, 0
    pieces: list[int] = []
    for stroke in shape.strokes:
        last = len(stroke) - 1
        corners = [i for i in range(1, last) if stroke[i][2]]
        for start, stop in itertools.pairwise([0, *corners, last]):
            rows = np.eye(len(points))[base + start : base + stop + 1]
            steps = POSITIONS if stop > start + 1 else 1
            count = steps * (stop - start)
            curved.append(smooth(rows, steps))
            before = np.minimum(np.arange(count + 1) // steps, stop - start - 1)
            share = (np.arange(count + 1) / steps - before)[:, None]
            straight.append((1 - share) * rows[before] + share * rows[before + 1])
            pieces += range(position, position + count)
            position += count + 1
        base += last + 1
    both = (np.concatenate(part).astype(np.float32) for part in (curved, straight))
    return points, *both, np.array(pieces)


def _written(line: Floats, hand: Hand) -> Floats:
    """Bend, slant and stretch lines (N, S, 2), and let them tremble."""
    x, y = np.moveaxis(line, 2, 0)
    (yy, xy, wave), (xx, yx, ripple) = np.moveaxis(hand.bend[..., None], (1, 2), (0, 1))
    bent_x = x + 4 * (yy * y * y + xy * x * y) + wave * np.sin(9 * y)
    bent_y = y + 4 * (xx * x * x + yx * x * y) + ripple * np.sin(9 * x)
    amplitude, frequency, phase = hand.tremor.T[..., None]
    angle = frequency * np.arange(line.shape[1], dtype=np.float32) + phase
    bent = np.stack([bent_x + amplitude * np.sin(angle), bent_y + amplitude * np.cos(angle)], 2)
    return _multiply(bent, hand.matrix).astype(np.float32)


def _multiply(points: Floats, matrices: Floats) -> Floats:
    """Multiply points (N, S, 2) by matrices (N, 2, 2). Not by BLAS, whose last bits may vary."""
    return np.asarray(np.einsum("nsd,ned->nse", points, matrices))


def _placed(line: Floats, hand: Hand) -> Floats:
    """Scale lines (N, S, 2) so that their ink fills the box, in pixels of the canvas."""
    low, high = line.min(1), line.max(1)
    reach = hand.radius[:, None] * np.linalg.norm(hand.nib, axis=2)[:, ::-1]  # in x and y
    scale = ((BOX - 2 * reach) / np.maximum(high - low, 1e-3)).min(1)
    placed = (line - (low[:, None] + high[:, None]) / 2) * scale[:, None, None]
    return np.asarray(placed + np.float32((CANVAS - 1) / 2), np.float32)


def _render(line: Floats, pieces: NDArray[np.intp], hand: Hand) -> Floats:
    """Draw lines with pens, anti-aliased by the distance to them.

    Args:
        line: (N, S, 2), x and y in pixels; the centre of the first pixel is (0, 0).
        pieces: which positions a straight piece of line starts at; it ends at the next.
        hand: whose pens are used.

    Returns:
        Ink, 0–1 (N, CANVAS, CANVAS); the most of each picture is 1.
    """
    line = _multiply(line, hand.nib)
    start, end = line[:, pieces], line[:, pieces + 1]
    length = np.maximum(np.linalg.norm(end - start, axis=2, keepdims=True), 1e-3)
    along = (end - start) / length
    across = np.stack([-along[..., 1], along[..., 0]], 2)
    pixels = np.arange(CANVAS, dtype=np.float32)[:, None, None]  # (CANVAS, pieces, N) below
    parts = []
    for direction in (along, across):
        in_x, in_y = _multiply(direction, hand.nib).transpose(2, 1, 0)  # nibs are symmetric
        origin = (direction * start).sum(2).T
        parts += [pixels * in_x - origin, pixels * in_y]
    nearest = np.full((CANVAS, CANVAS, len(line)), np.inf, np.float32)
    u, v = np.empty_like(nearest), np.empty_like(nearest)
    for i, long in enumerate(length[..., 0].T):
        along_x, along_y, across_x, across_y = (part[:, i] for part in parts)
        np.add(along_x, along_y[:, None], out=u)
        np.minimum(u, long, out=v)
        np.maximum(v, 0, out=v)
        np.subtract(u, v, out=u)  # how far beyond the piece's ends
        np.square(u, out=u)
        np.add(across_x, across_y[:, None], out=v)
        np.square(v, out=v)
        np.add(u, v, out=u)
        np.minimum(nearest, u, out=nearest)
    ink = ((hand.radius - np.sqrt(nearest)) / hand.edge + 0.5).clip(0, 1)
    return np.asarray((ink / np.maximum(ink.max((0, 1)), 1e-3)).transpose(2, 0, 1))


def _centred(ink: Floats) -> NDArray[np.uint8]:
    """Move ink by whole pixels to MNIST's centre of mass: uint8 (N, 28, 28)."""
    beyond = CANVAS - CENTRE  # pixels around the picture that a lopsided digit may reach
    wide = np.zeros((len(ink), *[SIDE + 2 * beyond] * 2), np.uint8)
    total, positions = ink.sum((1, 2)), np.arange(CANVAS)
    rows, columns = (
        (CENTRE + beyond - (ink.sum(axis) * positions).sum(1) / total).round().astype(int)
        for axis in (2, 1)
    )
    rows, columns = (start[:, None] + positions for start in (rows, columns))
    grey = (ink * 255).round().astype(np.uint8)
    wide[np.arange(len(ink))[:, None, None], rows[:, :, None], columns[:, None]] = grey
    return wide[:, beyond:-beyond, beyond:-beyond]
