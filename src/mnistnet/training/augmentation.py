"""Augmentation in torch operations, many pictures at once: as handwriting and photos of it vary.

    augmented = augment(images, recipe, generator)     # uint8 (N, 28, 28) → uint8 (N, 28, 28)

Every kind has its strength in the recipe, and a strength of zero leaves it out. Kinds that apply
to some pictures only take a slice of the batch: pictures come in random order, so a slice is as
good as a draw for each picture, and the others cost nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor

    from mnistnet.training.recipe import Recipe

HALF = 14  # pixels from the centre to the edge; grid coordinates run from -1 to 1
KNOTS = 5  # the elastic field is drawn on 5×5 points and smooth in between


def augment(images: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Augment pictures at random.

    Args:
        images: uint8 (N, 28, 28), ink bright on dark, in random order.
        recipe: the strength of each kind.
        generator: draws every number, on the images' device.

    Returns:
        uint8 (N, 28, 28).
    """
    x = images.unsqueeze(1).float()  # (N, 1, 28, 28), 0–255
    if recipe.rotation_deg or recipe.scale or recipe.shear or recipe.shift_px or recipe.elastic_px:
        x = _warp(x, recipe, generator)
    if recipe.stroke_px:
        x = _dilate_or_erode(x, recipe.stroke_px, generator)
    if recipe.blur:
        x = _downsample(x, recipe.blur, generator)
    if recipe.contrast:
        x = _contrast_jitter(x, recipe.contrast, generator)
    if recipe.noise:
        x = _add_noise(x, recipe.noise, generator)
    return x.squeeze(1).clamp_(0, 255).round_().to(torch.uint8)


def _warp(x: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Rotate, scale, shear, shift and deform elastically, in one bilinear resampling."""
    return F.grid_sample(x, _grid(x, recipe, generator), align_corners=False)


def _grid(x: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Draw a sampling grid for `grid_sample`: (N, 28, 28, 2), coordinates -1 to 1.

    Each grid is a weighted sum of a few fields that are the same for all pictures: those of an
    affine map, and one for each knot of the elastic deformation. So one matrix product makes the
    grids of all pictures, ten times as fast as torch's two functions for these.
    """
    angle = _uniform(x, math.radians(recipe.rotation_deg), generator)
    width, height = (1 + _uniform(x, recipe.scale, generator) for _ in range(2))
    shear = _uniform(x, recipe.shear, generator)
    right, down = (_uniform(x, recipe.shift_px / HALF, generator) for _ in range(2))
    cos, sin = angle.cos(), angle.sin()
    weights = torch.stack([width * cos, shear - sin, right, sin, height * cos, down], dim=1)
    fields = _affine_fields(x)
    if recipe.elastic_px:
        knots = torch.randn(len(x), 2 * KNOTS**2, generator=generator, device=x.device)
        weights = torch.cat([weights, knots * (recipe.elastic_px / HALF)], dim=1)
        fields = torch.cat([fields, _elastic_fields(x)])
    return (weights @ fields).view(-1, 28, 28, 2)


def _affine_fields(x: Tensor) -> Tensor:
    """Return the fields that make up an affine map: x, y and 1 per coordinate, (6, 28·28·2)."""
    centres = (torch.arange(28, device=x.device) + 0.5) / HALF - 1  # of pixels
    plane = torch.ones(3, 28, 28, device=x.device)
    plane[0], plane[1] = centres.view(1, 28), centres.view(28, 1)
    return _in_each_coordinate(plane)


def _elastic_fields(x: Tensor) -> Tensor:
    """Return each knot's bicubic interpolation kernel, in each coordinate, (2·5·5, 28·28·2)."""
    knots = torch.eye(KNOTS**2, device=x.device).view(-1, 1, KNOTS, KNOTS)
    kernels = F.interpolate(knots, size=(28, 28), mode="bicubic", align_corners=True)
    return _in_each_coordinate(kernels.squeeze(1))


def _in_each_coordinate(fields: Tensor) -> Tensor:
    """Return each field (28, 28) twice, as the first and as the second of two coordinates."""
    both = torch.zeros(2, *fields.shape, 2, device=fields.device)
    both[0, ..., 0] = both[1, ..., 1] = fields
    return both.view(2 * len(fields), -1)


def _dilate_or_erode(x: Tensor, reach_px: float, generator: Generator) -> Tensor:
    """Dilate the strokes of one half of the pictures, erode the other's, by up to `reach_px`.

    One grey dilation or erosion (3×3) moves an edge by a pixel; a fraction of a pixel is a blend.
    """
    amount = _uniform(x, reach_px, generator).abs().view(-1, 1, 1, 1)
    half = len(x) // 2
    dilated, eroded = x[:half], x[half:]
    for step in range(math.ceil(reach_px)):
        part = (amount - step).clamp(0, 1)
        dilated = torch.lerp(dilated, _over_neighbours(torch.maximum, dilated), part[:half])
        if step == 0:  # twice would make thin strokes vanish
            thin = _over_neighbours(torch.minimum, eroded)
            eroded = torch.lerp(eroded, thin, part[half:] * 0.6)
    return torch.cat([dilated, eroded])


def _over_neighbours(extreme: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the maximum or minimum over each pixel and its eight neighbours.

    One direction after the other: several times as fast on a processor as `F.max_pool2d`. Pixels
    outside the picture are left out.
    """
    for side in (2, 3):
        ahead, behind = x.narrow(side, 1, 27), x.narrow(side, 0, 27)
        pairs = extreme(ahead, behind)  # of a pixel and the next
        inner = extreme(pairs.narrow(side, 0, 26), pairs.narrow(side, 1, 26))
        x = torch.cat([pairs.narrow(side, 0, 1), inner, pairs.narrow(side, 26, 1)], dim=side)
    return x


def _downsample(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Downsample a share of the pictures to 7–16 pixels a side, and upsample them again."""
    slices = torch.split(x, _slices(len(x), share, parts=8))
    sides = torch.randint(7, 17, (8,), generator=generator, device=x.device).tolist()
    downsampled = [
        F.interpolate(F.interpolate(s, size=side, mode="area"), size=28, mode="bilinear")
        for s, side in zip(slices[1:], sides, strict=False)
        if len(s)
    ]
    return torch.cat([slices[0], *downsampled])


def _contrast_jitter(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Move the black and white points of half of the pictures: fainter, bolder, harder edges."""
    x = x.roll(len(x) // 3, dims=0)  # other pictures than the slices before
    n = int(len(x) * 0.5)
    some = x[:n]
    black = torch.rand(n, 1, 1, 1, generator=generator, device=x.device) * 90 * strength
    gain = 1 + torch.rand(n, 1, 1, 1, generator=generator, device=x.device) * 2.5 * strength
    top = 255 - torch.rand(n, 1, 1, 1, generator=generator, device=x.device) * 110 * strength
    some = torch.minimum(((some - black) * gain).clamp_min(0), top)
    return torch.cat([some, x[n:]]).roll(-(len(x) // 3), dims=0)


def _add_noise(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Add noise to an eighth of the pictures, smooth stains to another, gaps to a third."""
    x = x.roll(len(x) // 2, dims=0)
    n = len(x) // 8
    grainy, stained, gapped, rest = x[:n], x[n : 2 * n], x[2 * n : 3 * n], x[3 * n :]
    level = torch.rand(n, 1, 1, 1, generator=generator, device=x.device) * 60 * strength
    grainy = grainy + torch.randn(grainy.shape, generator=generator, device=x.device) * level
    stains = torch.rand(n, 1, 7, 7, generator=generator, device=x.device) * 2 - 1
    stained = stained + F.interpolate(stains, size=28, mode="bilinear").clamp_min(0) * level * 2
    gaps = torch.rand(n, 1, 7, 7, generator=generator, device=x.device) < 0.04 * strength
    gapped = gapped * (1 - F.interpolate(gaps.float(), size=28))
    return torch.cat([grainy, stained, gapped, rest]).roll(-(len(x) // 2), dims=0)


def _slices(n: int, share: float, parts: int) -> list[int]:
    """Split n pictures: first those left as they are, then a share in equal parts."""
    each = int(n * share / parts)
    return [n - each * parts, *([each] * parts)]


def _uniform(x: Tensor, reach: float, generator: Generator) -> Tensor:
    """Draw a number between -reach and reach for each picture: float32 (N,)."""
    return (torch.rand(len(x), generator=generator, device=x.device) * 2 - 1) * reach
