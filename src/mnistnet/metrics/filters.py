"""Image operations for `corruptions`, the same to the bit on every machine.

    >>> gaussian_blur(images, sigma=0.7)         # images float32 (N, 28, 28)

Nothing is used that processors or maths libraries round differently. Weights are rounded to
multiples of 2⁻¹⁶ before use, sums have a fixed order, one array operation at a time, and pixels
meet only + − × ÷ √, which IEEE 754 defines exactly. Random numbers come from a generator's raw
words, whose stream NumPy promises never to change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Images = NDArray[np.float32]  # (N, 28, 28), 0–255
    Matrix = tuple[float, float, float, float]  # row by row

SIDE = 28
CENTRE = 13.5  # of the pixel grid


@dataclass(frozen=True)
class RandomStreams:
    """Uniform random numbers that depend on a seed, a corruption and the name of their use."""

    seed: int
    corruption: str

    def uniform(self, name: str, *shape: int) -> NDArray[np.float64]:
        """Return numbers from [0, 1), a stream for each name.

        The first axis counts images: image i gets the same numbers however many follow it.
        """
        key = [self.seed, *f"{self.corruption}: {name}".encode()]
        words = np.random.PCG64(key).random_raw(math.prod(shape))
        return ((words >> np.uint64(11)) * np.float64(2.0**-53)).reshape(shape)


def exact(weight: float) -> float:
    """Round a weight to a multiple of 2⁻¹⁶, coarser than what maths libraries disagree on."""
    return round(weight * 2**16) / 2**16


def gaussian_weights(sigma: float) -> list[float]:
    """Return the right half of a Gaussian, centre first, cut at 4 sigma and not normalised."""
    return [math.exp(-0.5 * (i / sigma) ** 2) for i in range(int(4 * sigma + 0.5) + 1)]


def gaussian_blur(images: Images, sigma: float) -> Images:
    """Blur with a Gaussian of `sigma` pixels; edge pixels are repeated beyond the edge."""
    half = gaussian_weights(sigma)
    total = math.fsum([*half, *half[1:]])
    weights = [exact(weight / total) for weight in [*half[:0:-1], *half]]
    return correlate(correlate(images, weights, axis=1), weights, axis=2)


def correlate(images: Images, weights: Sequence[float], axis: int) -> Images:
    """Correlate with an odd number of weights along one axis; edge pixels are repeated."""
    reach = len(weights) // 2
    padding = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
    padded = np.moveaxis(np.pad(images, padding, mode="edge"), axis, 0)
    result: Images = np.zeros_like(images)
    total = np.moveaxis(result, axis, 0)  # a view
    for i, weight in enumerate(weights):
        total += np.float32(weight) * padded[i : i + SIDE]
    return result


def shift(images: Images, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Images:
    """Shift each image down and right by its own whole number of pixels (N,); zeros move in."""
    margin = int(max(abs(rows).max(), abs(columns).max()))
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    grid = np.arange(SIDE) + margin
    image = np.arange(len(images))[:, None, None]
    row, column = grid - rows[:, None], grid - columns[:, None]
    moved: Images = padded[image, row[:, :, None], column[:, None, :]]
    return moved


def warp(images: Images, matrix: Matrix) -> Images:
    """Map images linearly about their centre, with bilinear interpolation and zero padding.

    With a matrix a, b, c, d, the output at (x, y) is the input at (a·x + b·y, c·x + d·y).
    """
    a, b, c, d = (exact(entry) for entry in matrix)
    y, x = np.mgrid[:SIDE, :SIDE] - CENTRE
    column, row = a * x + b * y + CENTRE, c * x + d * y + CENTRE
    left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    result = np.zeros_like(images)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        i, j = top + dy, left + dx
        is_inside = (i >= 0) & (i < SIDE) & (j >= 0) & (j < SIDE)
        weight = (1 - abs(row - i)) * (1 - abs(column - j)) * is_inside
        result += images[:, i.clip(0, SIDE - 1), j.clip(0, SIDE - 1)] * weight.astype(np.float32)
    return result


def plasma(noise: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Return plasma clouds in [0, 1] that wrap around, by the diamond-square algorithm.

    Fournier, Fussell & Carpenter 1982 (Communications of the ACM 25:371–384): midpoints are the
    mean of their four neighbours plus noise, uniform (M, S, S) with S a power of two, whose
    amplitude falls by `decay`² while the distance halves.
    """
    clouds = np.zeros_like(noise)
    step, strength = noise.shape[1], 1.0
    while step >= 2:
        half = step // 2
        offsets = (2 * noise - 1) * strength
        corners = clouds[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        centres = (pairs + np.roll(pairs, -1, axis=2)) / 4 + offsets[:, half::step, half::step]
        clouds[:, half::step, half::step] = centres
        level = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        clouds[:, ::step, half::step] = level / 4 + offsets[:, ::step, half::step]
        upright = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        clouds[:, half::step, ::step] = upright / 4 + offsets[:, half::step, ::step]
        step, strength = half, strength / decay**2
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    clouds /= clouds.max(axis=(1, 2), keepdims=True)
    return clouds


def canny(images: Images, sigma: float) -> NDArray[np.bool_]:
    """Return where the edges are: bool (N, 28, 28).

    Canny 1986 (IEEE PAMI 8:679–698): blur, Sobel gradient, non-maximum suppression, and
    hysteresis: weak edges (a gradient of at least a tenth of the range of grey) are kept only
    where they are connected to strong ones (a fifth).
    """
    smooth = gaussian_blur(images, sigma)
    across = correlate(correlate(smooth, (1, 2, 1), axis=1), (-1, 0, 1), axis=2)
    down = correlate(correlate(smooth, (1, 2, 1), axis=2), (-1, 0, 1), axis=1)
    gradient = np.sqrt(across * across + down * down)
    edges = _is_ridge(gradient, across, down)
    weak = edges & (gradient >= np.float32(0.1 * 255))
    kept = edges & (gradient >= np.float32(0.2 * 255))
    while not np.array_equal(kept, grown := _dilated(kept) & weak):
        kept = grown
    return kept


def _is_ridge(gradient: Images, across: Images, down: Images) -> NDArray[np.bool_]:
    """Return where the gradient is a maximum along its own direction (one of eight)."""
    tangent = np.float32(exact(math.tan(math.pi / 8)))  # bounds the eight directions
    is_level = abs(down) <= tangent * abs(across)
    is_upright = abs(across) <= tangent * abs(down)
    is_falling = ~is_level & ~is_upright & (across * down > 0)
    is_rising = ~(is_level | is_upright | is_falling)
    ridge = np.zeros(gradient.shape, dtype=bool)
    directions = {(0, 1): is_level, (1, 0): is_upright, (1, 1): is_falling, (1, -1): is_rising}
    for (dy, dx), is_along in directions.items():
        after, before = _neighbour(gradient, dy, dx), _neighbour(gradient, -dy, -dx)
        ridge |= is_along & (gradient > before) & (gradient >= after)
    return ridge


def _dilated(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask and all its eight neighbours."""
    for dy, dx in ((0, 1), (1, 0)):
        mask = mask | _neighbour(mask, dy, dx) | _neighbour(mask, -dy, -dx)
    return mask


def _neighbour(images: NDArray[Any], dy: int, dx: int) -> NDArray[Any]:
    """Return for each pixel the one `dy` below and `dx` to its right; zero beyond the edge."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return padded[:, 1 + dy : 1 + dy + SIDE, 1 + dx : 1 + dx + SIDE]
