"""Fifteen corruptions of digit images that a person can still read, at MNIST-C's strength.

    >>> foggy = corrupt(images, "fog", seed=0)      # uint8 (N, 28, 28) in and out

They measure robustness to what a network was not trained for. Names and definitions follow
MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337), which took shot noise, impulse noise, both blurs,
brightness, fog and spatter from Hendrycks & Dietterich 2019 (arXiv:1903.12261). Nothing here was
fitted to this package's network, and its training must not use these functions.

A seed gives the same bytes on every machine (see `filters`), and the result for an image does not
depend on the images after it. A new corruption is one function here, and a line in `CORRUPTIONS`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.errors import DataError
from mnistnet.metrics import filters
from mnistnet.metrics.filters import SIDE, RandomStreams

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.metrics.filters import Images, Matrix


def corrupt(images: NDArray[np.uint8], name: str, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return images, uint8 (N, 28, 28) with bright ink, corrupted in one of the fifteen ways.

    Raises:
        DataError: the images have another shape or type, or the name is unknown.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"images are {images.dtype} of shape {images.shape}; corruptions need uint8 (N, 28, 28)"
        )
    if name not in CORRUPTIONS:
        raise DataError(f"corruption {name!r} is unknown; choose from {', '.join(CORRUPTIONS)}")
    if not len(images):
        return images.copy()
    corrupted = CORRUPTIONS[name](images.astype(np.float32), RandomStreams(seed, name))
    return np.floor(corrupted.clip(0, 255) + np.float32(0.5)).astype(np.uint8)


# ---- noise


def shot_noise(images: Images, random: RandomStreams) -> Images:
    """Count few photons: each pixel is a Poisson variable whose mean is its brightness."""
    photons = 3  # mean count of a white pixel; higher counts are clipped to white
    # Inverse transform sampling: count how many of P(K ≤ 0), P(K ≤ 1) … a uniform number exceeds.
    cdf = np.array([_poisson_cdf(grey * photons / 255, photons) for grey in range(256)])
    u = random.uniform("pixels", *images.shape)
    grey = images.astype(np.intp)
    counts = np.zeros_like(images)
    for k in range(photons):
        counts += u >= cdf[grey, k]
    return counts * np.float32(255 / photons)


def _poisson_cdf(mean: float, n: int) -> list[float]:
    """Return the probabilities of at most 0, 1 … n − 1 events."""
    terms = [math.exp(-mean) * mean**k / math.factorial(k) for k in range(n)]
    return [filters.exact(math.fsum(terms[: k + 1])) for k in range(n)]


def impulse_noise(images: Images, random: RandomStreams) -> Images:
    """Set 17 % of the pixels to black or white, each equally often (salt and pepper)."""
    share = 0.17
    u = random.uniform("pixels", *images.shape)
    return np.where(u < share / 2, 0, np.where(u < share, 255, images)).astype(np.float32)


# ---- blur


def glass_blur(images: Images, random: RandomStreams) -> Images:
    """Imitate frosted glass: blur, swap neighbouring pixels, blur again."""
    sigma, reach, rounds = 0.7, 1, 2
    # Pixels first, so that each swap touches one row of memory for all images at once.
    pixels = filters.gaussian_blur(images, sigma).reshape(len(images), -1).T.copy()
    image = np.arange(len(images))
    swaps = random.uniform("swaps", len(images), rounds, SIDE, SIDE, 3)
    down, right = (np.floor(swaps[..., i] * 2 * reach).astype(int) - reach for i in (0, 1))
    offsets = np.where(swaps[..., 2] < 0.5, down * SIDE + right, 0)  # every second pixel stays
    inner = range(SIDE - reach, reach, -1)
    for i, row, column in ((i, r, c) for i in range(rounds) for r in inner for c in inner):
        here = row * SIDE + column
        there = here + offsets[:, i, row - 1, column - 1]
        moved = pixels[there, image]
        pixels[there, image] = pixels[here]
        pixels[here] = moved
    return filters.gaussian_blur(pixels.T.reshape(images.shape), sigma)


def motion_blur(images: Images, random: RandomStreams) -> Images:
    """Smear to the right, in a direction of up to 45° up or down."""
    half = filters.gaussian_weights(sigma=3.0)
    total = math.fsum(half)
    # Half degrees, so that no step lies halfway between two pixels.
    angles = np.floor(random.uniform("angle", len(images)) * 90).astype(int)
    radians = [math.radians(i - 44.5) for i in range(90)]
    blurred = np.zeros_like(images)
    for step, weight in enumerate(half):
        down = np.array([round(step * math.sin(r)) for r in radians])[angles]
        right = np.array([round(step * math.cos(r)) for r in radians])[angles]
        moved = filters.shift(images, -down, -right)
        blurred += moved * np.float32(filters.exact(weight / total))
    return blurred


# ---- position


def shear(images: Images, random: RandomStreams) -> Images:
    """Slant the digit to the left or to the right."""
    sin, cos = math.sin(0.4), math.cos(0.4)
    return _warp_either_way(images, (1, -sin, 0, cos), (1, sin, 0, cos), random)


def scale(images: Images, _: RandomStreams) -> Images:
    """Shrink the digit to 70 % about the centre."""
    return filters.warp(images, (1 / 0.7, 0, 0, 1 / 0.7))


def rotate(images: Images, random: RandomStreams) -> Images:
    """Rotate the digit by 0.4 radians to the left or to the right."""
    sin, cos = math.sin(0.4), math.cos(0.4)
    return _warp_either_way(images, (cos, -sin, sin, cos), (cos, sin, -sin, cos), random)


def translate(images: Images, random: RandomStreams) -> Images:
    """Move the digit diagonally by three pixels, towards any of the four corners."""
    rows, columns = np.where(random.uniform("direction", len(images), 2) < 0.5, -3, 3).T
    return filters.shift(images, rows, columns)


def _warp_either_way(images: Images, one: Matrix, other: Matrix, random: RandomStreams) -> Images:
    """Warp each image by one of two matrices, with equal probability."""
    is_first = random.uniform("direction", len(images))[:, None, None] < 0.5
    return np.where(is_first, filters.warp(images, one), filters.warp(images, other))


# ---- light and weather


def brightness(images: Images, _: RandomStreams) -> Images:
    """Overexpose: add half the range to every pixel, so that the ink stands out less."""
    return images + np.float32(255 * 0.5)


def stripe(images: Images, _: RandomStreams) -> Images:
    """Invert all but an upright stripe in the middle."""
    width = 7
    sides = [*range(width), *range(SIDE - width, SIDE)]
    striped = images.copy()
    striped[:, :, sides] = 255 - striped[:, :, sides]
    return striped


def fog(images: Images, random: RandomStreams) -> Images:
    """Cover the image with uneven clouds that take its contrast."""
    thickness, decay = 3.0, 1.4
    size, n_skies = 256, 16  # each image sees its own window of one of these
    skies = filters.plasma(random.uniform("skies", n_skies, size, size), decay)
    places = np.floor(random.uniform("places", len(images), 3) * (n_skies, size, size)).astype(int)
    rows, columns = ((places[:, i, None] + np.arange(SIDE)) % size for i in (1, 2))
    clouds = skies[places[:, 0, None, None], rows[:, :, None], columns[:, None, :]]
    brightest = images.max(axis=(1, 2), keepdims=True).astype(np.float64)
    foggy = (images + 255 * thickness * clouds) * brightest / (brightest + 255 * thickness)
    return np.asarray(foggy, dtype=np.float32)


def spatter(images: Images, random: RandomStreams) -> Images:
    """Splash mud on the lens: dark spots that hide what is under them."""
    mud = 63  # grey level
    # The sum of four uniform numbers, centred, is close to normal.
    drops = random.uniform("drops", *images.shape, 4)
    noise = drops[..., 0] + drops[..., 1] + drops[..., 2] + drops[..., 3] - 2
    is_wet = filters.gaussian_blur(noise.astype(np.float32), sigma=1.0) > 0
    cover = filters.gaussian_blur(is_wet.astype(np.float32), sigma=1.5)
    cover[cover < np.float32(0.8)] = 0
    return images * (1 - cover) + mud * cover


# ---- occlusion


def dotted_line(images: Images, random: RandomStreams) -> Images:
    """Draw a dotted line across the whole image."""
    ends = np.floor(random.uniform("ends", len(images), 2) * (SIDE - 1))
    column = np.arange(SIDE)
    rows = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * column / (SIDE - 1)
    return images + _line(rows) * (column % 4 >= 2)


def zigzag(images: Images, random: RandomStreams) -> Images:
    """Draw a zigzag across the image that climbs or falls by at most five pixels."""
    u = random.uniform("ends", len(images), 2)
    start, climb = np.floor(u[:, :1] * (SIDE - 1)), np.floor(u[:, 1:] * 10) - 5
    first, last = 2, 25
    column = np.arange(SIDE)
    along = column - first
    tooth = abs((along - 2) % 8 - 4) - 2  # 0, 1, 2, 1, 0, −1, −2, −1 and again
    rows = start + climb * along / (last - first) + tooth
    return images + _line(rows) * ((column >= first) & (column < last))


def _line(rows: NDArray[np.float64]) -> Images:
    """Draw a soft line through `rows` (N, 28), one row number for each column.

    Its brightness at a vertical distance d is 1 + ln(1 − d/2.3), as in MNIST-C.
    """
    reach = 2.3
    steps = 64  # of the table of logarithms, to a pixel
    fade = [1 + math.log(1 - i / (steps * reach)) for i in range(int(steps * reach))]
    table: Images = np.array([*(round(255 * max(0.0, f)) for f in fade), 0], dtype=np.float32)
    distance = abs(np.arange(SIDE)[:, None] - rows[:, None, :])
    line: Images = table[np.minimum(np.floor(distance * steps), len(table) - 1).astype(int)]
    return line


def canny_edges(images: Images, _: RandomStreams) -> Images:
    """Keep only the outlines."""
    return 255 * filters.canny(images, sigma=1.0).astype(np.float32)


CORRUPTIONS: dict[str, Callable[[Images, RandomStreams], Images]] = {  # in MNIST-C's order
    function.__name__: function for function in (
        shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, brightness,
        translate, stripe, fog, spatter, dotted_line, zigzag, canny_edges,
    )
}  # fmt: skip
