"""Fifteen ways to spoil a picture of a digit that leave a person able to read it.

    >>> foggy = corrupt(images, "fog", seed=0)      # uint8 (N, 28, 28) in and out

The suite measures robustness to what a network was not trained for. Names and definitions
follow MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337), which took shot noise, impulse noise, both
blurs, brightness, fog and spatter from Hendrycks & Dietterich 2019 (arXiv:1903.12261). Severity
3 is MNIST-C's own strength; 1 and 2 are milder, 4 and 5 stronger. Nothing here was fitted to
this package's network, and its training must not use these functions.

A seed gives the same bytes on every machine (see `filters`), and what happens to an image does
not depend on how many follow it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mnistnet.errors import DataError
from mnistnet.metrics import filters

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.metrics.filters import Images

    class Draw(Protocol):
        """Where a corruption gets its random numbers."""

        def __call__(self, name: str, *shape: int) -> NDArray[np.float64]:
            """Give numbers from [0, 1) of some shape; a name for each use, images first."""


SIDE = filters.SIDE
SEVERITIES = (1, 2, 3, 4, 5)
DEFAULT_SEVERITY = 3  # as strong as MNIST-C


def corrupt(
    images: NDArray[np.uint8], name: str, *, severity: int = DEFAULT_SEVERITY, seed: int = 0
) -> NDArray[np.uint8]:
    """Spoil images in one of the fifteen ways.

    Args:
        images: uint8 (N, 28, 28), ink bright on dark.
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5; 3 is as strong as MNIST-C.
        seed: another seed gives other noise, lines, directions.

    Returns:
        uint8 (N, 28, 28).

    Raises:
        DataError: the images have another shape or type, or name or severity is unknown.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"images are {images.dtype} of shape {images.shape}; corruptions need uint8 (N, 28, 28)"
        )
    if name not in CORRUPTIONS:
        raise DataError(f"corruption {name!r} is unknown; choose from {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise DataError(f"severity {severity} is unknown; choose from 1 to 5")
    if not len(images):
        return images.copy()
    draw = partial(_draw, seed, name)
    spoilt = CORRUPTIONS[name](images.astype(np.float32), severity, draw)
    return np.floor(spoilt.clip(0, 255) + np.float32(0.5)).astype(np.uint8)


def _draw(seed: int, corruption: str, name: str, *shape: int) -> NDArray[np.float64]:
    return filters.uniform(seed, f"{corruption}: {name}", shape)


# Noise


def shot_noise(images: Images, severity: int, draw: Draw) -> Images:
    """Count few photons: each pixel is a Poisson variable with its brightness as the mean."""
    photons = (12, 5, 3, 2, 1)[severity - 1]  # that white is made of, on average
    # Invert the distribution: count how many of P(K ≤ 0), P(K ≤ 1) … a uniform number exceeds.
    chances = np.array([_poisson(grey * photons / 255, photons) for grey in range(256)])
    u = draw("pixels", *images.shape)
    grey = images.astype(np.intp)
    counts = np.zeros_like(images)
    for k in range(photons):
        counts += u >= chances[grey, k]
    return counts * np.float32(255 / photons)


def _poisson(mean: float, n: int) -> list[float]:
    """Give the probabilities of at most 0, 1 … n − 1 events."""
    terms = [math.exp(-mean) * mean**k / math.factorial(k) for k in range(n)]
    return [filters.exact(math.fsum(terms[: k + 1])) for k in range(n)]


def impulse_noise(images: Images, severity: int, draw: Draw) -> Images:
    """Turn some pixels black or white, each as often (salt and pepper)."""
    share = (0.06, 0.09, 0.17, 0.27, 0.4)[severity - 1]
    u = draw("pixels", *images.shape)
    return np.where(u < share / 2, 0, np.where(u < share, 255, images)).astype(np.float32)


# Blur


def glass_blur(images: Images, severity: int, draw: Draw) -> Images:
    """Look through frosted glass: blur, let neighbouring pixels change places, blur again."""
    sigma, reach, rounds = ((0.5, 1, 1), (0.6, 1, 1), (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3))[
        severity - 1
    ]
    # Pixels in the rows: each swap then touches a row of memory for all images at once.
    pixels = filters.gaussian_blur(images, sigma).reshape(len(images), -1).T.copy()
    image = np.arange(len(images))
    swaps = draw("swaps", len(images), rounds, SIDE, SIDE, 3)
    down, right = (np.floor(swaps[..., i] * 2 * reach).astype(int) - reach for i in (0, 1))
    offsets = np.where(swaps[..., 2] < 0.5, down * SIDE + right, 0)  # every other pixel stays
    inner = range(SIDE - reach, reach, -1)
    for i, row, column in ((i, r, c) for i in range(rounds) for r in inner for c in inner):
        here = row * SIDE + column
        there = here + offsets[:, i, row - 1, column - 1]
        moved = pixels[there, image]
        pixels[there, image] = pixels[here]
        pixels[here] = moved
    return filters.gaussian_blur(pixels.T.reshape(images.shape), sigma)


def motion_blur(images: Images, severity: int, draw: Draw) -> Images:
    """Move the camera sideways, up to 45° up or down, while the shutter closes slowly."""
    sigma = (1.0, 2.0, 3.0, 4.0, 5.0)[severity - 1]
    half = filters.gaussian_weights(sigma)
    total = math.fsum(half)
    # Half degrees, so that no step lies halfway between two pixels.
    angles = np.floor(draw("angle", len(images)) * 90).astype(int)
    radians = [math.radians(degrees - 44.5) for degrees in range(90)]
    blurred = np.zeros_like(images)
    for step, weight in enumerate(half):
        down = np.array([round(step * math.sin(r)) for r in radians])[angles]
        right = np.array([round(step * math.cos(r)) for r in radians])[angles]
        moved = filters.shift(images, -down, -right)
        blurred += moved * np.float32(filters.exact(weight / total))
    return blurred


# Position


def shear(images: Images, severity: int, draw: Draw) -> Images:
    """Slant the digit to either side."""
    angle = (0.2, 0.3, 0.4, 0.5, 0.6)[severity - 1]
    sin, cos = math.sin(angle), math.cos(angle)
    to_left = filters.warp(images, (1, -sin, 0, cos))
    to_right = filters.warp(images, (1, sin, 0, cos))
    return _either(to_left, to_right, draw)


def scale(images: Images, severity: int, draw: Draw) -> Images:  # noqa: ARG001 - one signature
    """Shrink the digit about the centre."""
    size = (0.9, 0.8, 0.7, 0.6, 0.5)[severity - 1]
    return filters.warp(images, (1 / size, 0, 0, 1 / size))


def rotate(images: Images, severity: int, draw: Draw) -> Images:
    """Turn the digit to either side."""
    angle = (0.2, 0.3, 0.4, 0.5, 0.6)[severity - 1]
    sin, cos = math.sin(angle), math.cos(angle)
    to_left = filters.warp(images, (cos, -sin, sin, cos))
    to_right = filters.warp(images, (cos, sin, -sin, cos))
    return _either(to_left, to_right, draw)


def translate(images: Images, severity: int, draw: Draw) -> Images:
    """Move the digit diagonally, into any of the four corners."""
    distance = (1, 2, 3, 4, 5)[severity - 1]
    rows, columns = np.where(draw("direction", len(images), 2) < 0.5, -distance, distance).T
    return filters.shift(images, rows, columns)


def _either(one: Images, other: Images, draw: Draw) -> Images:
    """Take one or the other for each image, by the toss of a coin."""
    return np.where(draw("direction", len(one))[:, None, None] < 0.5, one, other)


# Light and weather


def brightness(images: Images, severity: int, draw: Draw) -> Images:  # noqa: ARG001
    """Expose too long: add light everywhere, so that ink stands out less."""
    return images + np.float32(255 * (0.3, 0.4, 0.5, 0.6, 0.7)[severity - 1])


def stripe(images: Images, severity: int, draw: Draw) -> Images:  # noqa: ARG001
    """Invert all but an upright stripe in the middle."""
    width = (3, 5, 7, 8, 9)[severity - 1]
    sides = [*range(width), *range(SIDE - width, SIDE)]
    spoilt = images.copy()
    spoilt[:, :, sides] = 255 - spoilt[:, :, sides]
    return spoilt


def fog(images: Images, severity: int, draw: Draw) -> Images:
    """Lay uneven clouds over the picture, which take its contrast."""
    thickness, decay = ((1.5, 2.0), (2.0, 1.7), (3.0, 1.4), (4.0, 1.4), (5.0, 1.4))[severity - 1]
    size, n_skies = 256, 16  # each image looks at its own place in one of these
    skies = filters.plasma(draw("skies", n_skies, size, size), decay)
    places = np.floor(draw("places", len(images), 3) * (n_skies, size, size)).astype(int)
    rows, columns = ((places[:, i, None] + np.arange(SIDE)) % size for i in (1, 2))
    clouds = skies[places[:, 0, None, None], rows[:, :, None], columns[:, None, :]]
    brightest = images.max(axis=(1, 2), keepdims=True).astype(np.float64)
    foggy = (images + 255 * thickness * clouds) * brightest / (brightest + 255 * thickness)
    return np.asarray(foggy, dtype=np.float32)


def spatter(images: Images, severity: int, draw: Draw) -> Images:
    """Splash mud on the lens: dark spots that hide what is under them."""
    threshold = (0.35, 0.15, 0.0, -0.15, -0.3)[severity - 1]  # in deviations of the liquid
    mud = 63  # how bright
    # The sum of four uniform numbers, centred, is close to normal, with a variance of 1/3.
    drops = draw("drops", *images.shape, 4)
    noise = drops[..., 0] + drops[..., 1] + drops[..., 2] + drops[..., 3] - 2
    # Blurred by one pixel, the noise keeps 1 / (2√π) of its deviation.
    deviation = math.sqrt(1 / 3) / (2 * math.sqrt(math.pi))
    liquid = filters.gaussian_blur(noise.astype(np.float32), sigma=1.0)
    is_wet = liquid > np.float32(filters.exact(threshold * deviation))
    cover = filters.gaussian_blur(is_wet.astype(np.float32), sigma=1.5)
    cover[cover < np.float32(0.8)] = 0
    return images * (1 - cover) + mud * cover


# Things in the way


def dotted_line(images: Images, severity: int, draw: Draw) -> Images:
    """Draw a dotted line across the whole picture."""
    ends = np.floor(draw("ends", len(images), 2) * (SIDE - 1))
    column = np.arange(SIDE)
    rows = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * column / (SIDE - 1)
    return images + _stroke(rows, severity) * (column % 4 >= 2)


def zigzag(images: Images, severity: int, draw: Draw) -> Images:
    """Draw a zigzag across the picture, up or down by at most five pixels."""
    u = draw("ends", len(images), 2)
    start, climb = np.floor(u[:, :1] * (SIDE - 1)), np.floor(u[:, 1:] * 10) - 5
    first, last = 2, 25
    column = np.arange(SIDE)
    along = column - first
    tooth = abs((along - 2) % 8 - 4) - 2  # 0, 1, 2, 1, 0, −1, −2, −1 and again
    rows = start + climb * along / (last - first) + tooth
    return images + _stroke(rows, severity) * ((column >= first) & (column < last))


def _stroke(rows: NDArray[np.float64], severity: int) -> Images:
    """Draw a soft line that passes through `rows` (N, 28), one for each column.

    Its brightness at a vertical distance d is 1 + ln(1 − d/reach), as in MNIST-C.
    """
    reach = (1.3, 1.8, 2.3, 2.8, 3.3)[severity - 1]
    steps = 64  # to a pixel, for the logarithm's table
    fade = [1 + math.log(1 - i / (steps * reach)) for i in range(int(steps * reach))]
    table: Images = np.array([*(round(255 * max(0.0, f)) for f in fade), 0], dtype=np.float32)
    distance = abs(np.arange(SIDE)[:, None] - rows[:, None, :])
    stroke: Images = table[np.minimum(np.floor(distance * steps), len(table) - 1).astype(int)]
    return stroke


def canny_edges(images: Images, severity: int, draw: Draw) -> Images:  # noqa: ARG001
    """Leave only the outlines (milder: beside some ink; stronger: of a blurred digit)."""
    strength, sigma = ((0.4, 1.0), (0.7, 1.0), (1.0, 1.0), (1.0, 1.25), (1.0, 1.5))[severity - 1]
    edges = 255 * filters.canny(images, sigma).astype(np.float32)
    return images * np.float32(1 - strength) + edges * np.float32(strength)


# In the order of MNIST-C.
CORRUPTIONS: dict[str, Callable[[Images, int, Draw], Images]] = {
    function.__name__: function
    for function in (
        shot_noise,
        impulse_noise,
        glass_blur,
        motion_blur,
        shear,
        scale,
        rotate,
        brightness,
        translate,
        stripe,
        fog,
        spatter,
        dotted_line,
        zigzag,
        canny_edges,
    )
}
