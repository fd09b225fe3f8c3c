"""Every random number of training, from a counter-based generator (Philox), in NumPy.

    generator = generator_for(seed=0, epoch=1)
    order = generator.permutation(60000)
    draws = draw(recipe, generator, 12800)         # for the augmentation of 12,800 images

Whichever engine augments, it is given the same draws, so that engines can be compared, and the
numbers depend neither on threads nor on the processor. The generator is keyed by seed and epoch:
a run that is resumed after an epoch goes on with the same numbers (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.model.architecture import layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnistnet.training.recipe import Recipe

    Floats = NDArray[np.float32]

HALF = 14  # pixels from the centre to the edge; grid coordinates run from -1 to 1
KNOTS = 5  # an elastic deformation is drawn on 5×5 points and smooth in between
COARSE = 7  # stains and gaps are drawn on 7×7 points
GRAIN, STAINS, GAPS = 1, 2, 3  # kinds of noise


@dataclass(frozen=True, eq=False)
class Noise:
    """What is added to some of N images, or erased.

    Attributes:
        kind: uint8 (N,): 0 (none), GRAIN, STAINS or GAPS.
        level: float32 (N,), in grey levels: how strong grain and stains are.
        row: int32 (N,): which row of `grain` or `coarse` is the image's; 0 where it has none.
        grain: float32 (images with grain, 28, 28), normally distributed.
        coarse: float32 (images with stains or gaps, 7, 7): stains from -1 to 1; gaps are 1, else 0.
    """

    kind: NDArray[np.uint8]
    level: Floats
    row: NDArray[np.int32]
    grain: Floats
    coarse: Floats

    def part(self, chosen: slice) -> Noise:
        """Return the noise of some of the images."""
        kind, level, row = self.kind[chosen], self.level[chosen], self.row[chosen]
        return replace(self, kind=kind, level=level, row=row)


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers that augment N images; None for a kind that a recipe leaves out.

    Attributes:
        grid: float32 (N, 6), or (N, 6 + 2·25) with an elastic deformation: how much of each field
            the sampling grid is made of. Of x, y and 1 for the horizontal coordinate, the same
            for the vertical one, then of each knot's displacement, horizontally and vertically.
        stroke: float32 (N,), pixels: how far strokes are dilated, or eroded where it is negative.
        downsample: uint8 (N,): the side in pixels to downsample to; 0: the image is left alone.
        contrast: float32 (N, 3): the black point, the gain above it, and the white point; a gain
            of 0: the image is left alone.
        noise: what is added.
        dropout: float32 (N, channels of the last map): the factor on each channel.
    """

    grid: Floats | None
    stroke: Floats | None
    downsample: NDArray[np.uint8] | None
    contrast: Floats | None
    noise: Noise | None
    dropout: Floats | None

    def part(self, start: int, stop: int) -> Draws:
        """Return the draws of some of the images, those from `start` to before `stop`."""
        chosen = slice(start, stop)
        return Draws(
            grid=None if self.grid is None else self.grid[chosen],
            stroke=None if self.stroke is None else self.stroke[chosen],
            downsample=None if self.downsample is None else self.downsample[chosen],
            contrast=None if self.contrast is None else self.contrast[chosen],
            noise=None if self.noise is None else self.noise.part(chosen),
            dropout=None if self.dropout is None else self.dropout[chosen],
        )


def generator_for(seed: int, epoch: int, *, for_weights: bool = False) -> np.random.Generator:
    """Return the generator of an epoch, or that of the weights that are drawn after it."""
    key = np.array([seed, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, int(for_weights)]))


def draw(recipe: Recipe, generator: np.random.Generator, n: int) -> Draws:
    """Draw the random numbers that augment n images as a recipe says."""
    warps = (recipe.rotation_deg, recipe.scale, recipe.shear, recipe.shift_px, recipe.elastic_px)
    return Draws(
        grid=_grid(recipe, generator, n) if any(warps) else None,
        stroke=_uniform(generator, n, recipe.stroke_px) if recipe.stroke_px else None,
        downsample=_downsample(recipe.blur, generator, n) if recipe.blur else None,
        contrast=_contrast(recipe.contrast, generator, n) if recipe.contrast else None,
        noise=_noise(recipe.noise, generator, n) if recipe.noise else None,
        dropout=_dropout(recipe.dropout, generator, n) if recipe.dropout else None,
    )


def _grid(recipe: Recipe, generator: np.random.Generator, n: int) -> Floats:
    """Draw rotations, scales, shears, shifts and elastic deformations."""
    angle = _uniform(generator, n, math.radians(recipe.rotation_deg))
    width, height = (1 + _uniform(generator, n, recipe.scale) for _ in range(2))
    shear = _uniform(generator, n, recipe.shear)
    right, down = (_uniform(generator, n, recipe.shift_px / HALF) for _ in range(2))
    cos, sin = np.cos(angle), np.sin(angle)
    affine: Floats = np.stack([width * cos, shear - sin, right, sin, height * cos, down], axis=1)
    if not recipe.elastic_px:
        return affine
    knots = generator.standard_normal((n, 2 * KNOTS**2), np.float32)
    return np.concatenate([affine, knots * np.float32(recipe.elastic_px / HALF)], axis=1)


def _downsample(share: float, generator: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Draw sides of 7–16 pixels for a share of the images."""
    sides = generator.integers(7, 17, n, np.uint8)
    return sides * (_chances(generator, n) < share)


def _contrast(strength: float, generator: np.random.Generator, n: int) -> Floats:
    """Draw black and white points for half of the images: fainter, bolder, harder edges."""
    black, gain, white = (_chances(generator, n) for _ in range(3))
    points = [black * 90 * strength, 1 + gain * 2.5 * strength, 255 - white * 110 * strength]
    points[1] *= _chances(generator, n) < 0.5
    return np.stack(points, axis=1, dtype=np.float32)


def _noise(strength: float, generator: np.random.Generator, n: int) -> Noise:
    """Draw grain for an eighth of the images, smooth stains for another, gaps for a third."""
    chance = _chances(generator, n)
    kind = np.select([chance < i / 8 for i in (1, 2, 3)], (GRAIN, STAINS, GAPS), 0)
    grainy, coarsely = kind == GRAIN, kind > GRAIN
    row = np.where(grainy, np.cumsum(grainy) - 1, (np.cumsum(coarsely) - 1) * coarsely)
    coarse = generator.random((coarsely.sum(), COARSE, COARSE), np.float32)
    gaps = (kind[coarsely] == GAPS)[:, None, None]
    return Noise(
        kind=kind.astype(np.uint8),
        level=_chances(generator, n) * np.float32(60 * strength),
        row=row.astype(np.int32),
        grain=generator.standard_normal((grainy.sum(), 28, 28), np.float32),
        coarse=np.where(gaps, coarse < 0.04 * strength, coarse * 2 - 1).astype(np.float32),
    )


def _dropout(probability: float, generator: np.random.Generator, n: int) -> Floats:
    """Draw which channels are dropped; the others are scaled up to the same mean."""
    kept = generator.random((n, layers()[-2].channels), np.float32) >= probability
    return (kept / (1 - probability)).astype(np.float32)


def _chances(generator: np.random.Generator, n: int) -> Floats:
    """Draw a number between 0 and 1 for each image: float32 (N,)."""
    return generator.random(n, np.float32)


def _uniform(generator: np.random.Generator, n: int, reach: float) -> Floats:
    """Draw a number between -reach and reach for each image: float32 (N,)."""
    return (_chances(generator, n) * 2 - 1) * np.float32(reach)
