"""Pictures of known digits as people send them, and blank pages, to measure a picture graph on.

    suite = draw_pictures(images, labels)            # 372 pictures of digits, 24 blank pages
    read = PicturesRead(suite, digits, 1e-6)         # what was read; see there
    read.correct.mean(), read.worst_kind()

Real digits are enlarged, and become ink on paper in six styles, each with dark ink and with bright;
one of each again as large as cameras make them. The styles are chosen so that each of the ways to
find a digit (see `mnistnet.picture`) fails in one of them if it is the only one. The same images
and seed give the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data.strokes import light_paper, photograph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnistnet.data.strokes import Coverage, Grey

BLANK = -1  # the label of a page without ink
MANY = -2  # read where several digits are found, though no picture shows more than one
PER_DIGIT = 3  # pictures of each digit in each style and polarity
BLANKS = 2  # in each style and polarity
# The longest side of one more picture of each style and polarity, in turn. A large picture takes
# as long as sixty others, so there are only enough to see that they are read at all.
LARGE_SIDES = (1000, 1000, 2000)
LARGE = "large size"  # the kind of all these
SIDE = 28
MIN_INK = 0.3  # of a pixel that belongs to the digit, where a picture is cropped to it


@dataclass(frozen=True)
class Style:
    """How a picture is made: lengths in pixels, light in grey levels 0–255."""

    sides: tuple[int, int]  # the shortest and the longest that height and width may be
    share: float  # of the shorter side that the digit's 28×28 take up
    paper: float
    ink: float
    falloff: float = 0  # how much darker one side of the paper is than the other
    grain: float = 0  # deviation of the sensor's noise
    is_cropped: bool = False  # to the digit, which then touches every border


STYLES = {
    "scan": Style((80, 160), 0.9, paper=250, ink=20),
    "as MNIST": Style((28, 28), 1, paper=255, ink=0),
    "cropped": Style((64, 128), 1, paper=245, ink=30, is_cropped=True),
    "faint": Style((80, 160), 0.9, paper=150, ink=95, grain=2),
    "shaded": Style((90, 140), 0.8, paper=240, ink=30, falloff=150),
    "photograph": Style((160, 360), 0.5, paper=205, ink=60, falloff=50, grain=6),
}
KINDS = [(style, ink) for style in STYLES for ink in ("dark", "bright")]


@dataclass(frozen=True, eq=False)
class PictureSuite:
    """N pictures with their labels, and the kind of each, such as "scan, dark ink"."""

    pictures: tuple[Grey, ...]  # uint8 (H, W) each
    labels: NDArray[np.int8]  # (N,): 0–9 or BLANK
    kinds: NDArray[np.str_]  # (N,)


@dataclass(frozen=True, eq=False)
class PicturesRead:
    """What a picture graph read."""

    suite: PictureSuite
    digits: NDArray[np.int8]  # (N,), BLANK where no ink was found, MANY where several digits
    difference: float  # at most, of a probability from the network's own for what was seen

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each picture of a digit is read correctly, bool (M,)."""
        return np.asarray((self.digits == self.suite.labels)[self.suite.labels != BLANK])

    @property
    def blank(self) -> NDArray[np.bool_]:
        """Whether each blank page is recognised, bool (N − M,)."""
        return np.asarray((self.digits == BLANK)[self.suite.labels == BLANK])

    def worst_kind(self) -> tuple[str, NDArray[np.bool_]]:
        """Return the style or the digit of the lowest accuracy, and what is correct of it."""
        is_digit = self.suite.labels != BLANK
        labels, kinds = self.suite.labels[is_digit], self.suite.kinds[is_digit]
        groups = {f"of {kind}": kinds == kind for kind in np.unique(kinds)}
        groups |= {f"of the digit {digit}": labels == digit for digit in np.unique(labels)}
        correct = {name: self.correct[members] for name, members in groups.items()}
        return min(correct.items(), key=lambda item: float(item[1].mean()))


def draw_pictures(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], *, seed: int = 0
) -> PictureSuite:
    """Draw pictures of images, uint8 (N, 28, 28) with bright ink, and blank pages.

    Every picture shows another image, if there are 72 or more of each digit; they are evenly
    spaced, since different people wrote the parts of a test set.
    """
    rng = np.random.default_rng(seed)
    drawn: list[tuple[Grey, int, str]] = []
    for number, (style, ink) in enumerate(KINDS):
        kind, empty = f"{style}, {ink} ink", np.zeros((SIDE, SIDE), np.uint8)
        for digit in sorted(set(labels.tolist())):
            of_digit = np.flatnonzero(labels == digit)
            for i in range(number, len(KINDS) * PER_DIGIT, len(KINDS)):
                image = images[of_digit[i * len(of_digit) // (len(KINDS) * PER_DIGIT)]]
                drawn.append((_picture(image, STYLES[style], ink, rng), digit, kind))
        pages = [_picture(empty, STYLES[style], ink, rng) for _ in range(BLANKS)]
        drawn += [(page, BLANK, kind) for page in pages]
    drawn += _large(images, labels, rng)
    pictures, digits, kinds = zip(*drawn, strict=True)
    return PictureSuite(pictures, np.array(digits, np.int8), np.array(kinds))


def _large(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], rng: np.random.Generator
) -> Iterator[tuple[Grey, int, str]]:
    """Draw a large picture in each style and polarity, of one digit after the other."""
    digits = sorted(set(labels.tolist()))
    for number, (style, ink) in enumerate(KINDS):
        side, digit = LARGE_SIDES[number % len(LARGE_SIDES)], digits[number % len(digits)]
        of_digit = np.flatnonzero(labels == digit)
        image = images[of_digit[(2 * number + 1) * len(of_digit) // (2 * len(KINDS))]]
        large = replace(STYLES[style], sides=(side * 3 // 4, side))
        yield _picture(image, large, ink, rng), digit, LARGE


def _picture(image: NDArray[np.uint8], style: Style, ink: str, rng: np.random.Generator) -> Grey:
    """Draw one image as ink at a random place of a sheet."""
    height, width = (int(side) for side in rng.integers(*style.sides, 2, endpoint=True))
    coverage = _enlarge(image, round(style.share * min(height, width)))
    if style.is_cropped and image.any():
        coverage = _crop(coverage)
        height, width = coverage.shape
    light = light_paper((height, width), style.paper, style.falloff, rng.uniform(0, 2 * np.pi))
    rows, columns = coverage.shape
    top, left = (
        rng.integers(height - rows, endpoint=True),
        rng.integers(width - columns, endpoint=True),
    )
    light[top : top + rows, left : left + columns] += coverage * (style.ink - style.paper)
    levels = photograph(light, style.grain, rng)
    return 255 - levels if ink == "bright" else levels


def _enlarge(image: NDArray[np.uint8], side: int) -> Coverage:
    """Interpolate an image (28, 28) bilinearly: 0–1 (side, side)."""
    at = ((np.arange(side) + 0.5) * SIDE / side - 0.5).clip(0, SIDE - 1)
    before = np.minimum(at.astype(int), SIDE - 2)
    weight = at - before  # of the pixel after
    wide = (image[:, before] * (1 - weight) + image[:, before + 1] * weight) / 255
    return np.asarray(wide[before] * (1 - weight)[:, None] + wide[before + 1] * weight[:, None])


def _crop(coverage: Coverage) -> Coverage:
    """Return the part of a picture that its ink takes up."""
    rows, columns = (np.flatnonzero(coverage.max(axis) > MIN_INK) for axis in (1, 0))
    return coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
