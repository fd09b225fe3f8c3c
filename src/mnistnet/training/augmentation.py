"""Pictures varied as handwriting and its pictures vary, a thousand at a time, in torch operations.

    varied = augment(images, recipe, generator)        # uint8 (N, 28, 28) → uint8 (N, 28, 28)

Every kind has its strength in the recipe, and a strength of nought leaves it out. Kinds that not
every picture should suffer take a slice of the pictures: they come in random order, so a slice is
as good as a draw for each, and costs nothing for the others.
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
    """Vary pictures at random.

    Args:
        images: uint8 (N, 28, 28), ink bright on dark, in random order.
        recipe: says how strongly.
        generator: draws every number, on the images' device.

    Returns:
        uint8 (N, 28, 28).
    """
    x = images.unsqueeze(1).float()  # (N, 1, 28, 28), 0–255
    if recipe.rotation_deg or recipe.scale or recipe.shear or recipe.shift_px or recipe.elastic_px:
        x = _warped(x, recipe, generator)
    if recipe.stroke_px:
        x = _thicker_or_thinner(x, recipe.stroke_px, generator)
    if recipe.blur:
        x = _coarser(x, recipe.blur, generator)
    if recipe.contrast:
        x = _relit(x, recipe.contrast, generator)
    if recipe.noise:
        x = _noisy(x, recipe.noise, generator)
    return x.squeeze(1).clamp_(0, 255).round_().to(torch.uint8)


def _warped(x: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Turn, stretch, slant, shift and bend: each output pixel looks elsewhere in its picture."""
    return F.grid_sample(x, _grid(x, recipe, generator), align_corners=False)


def _grid(x: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Draw where each output pixel looks in its picture: (N, 28, 28, 2), coordinates -1 to 1.

    That is a sum of a few fields, the same for all pictures and weighed for each: those of an
    affine map, and those that the knots of a bend make. So it is one product for all pictures,
    ten times as fast as what torch has for each of the two.
    """
    angle = _uniform(x, math.radians(recipe.rotation_deg), generator)
    width, height = (1 + _uniform(x, recipe.scale, generator) for _ in range(2))
    slant = _uniform(x, recipe.shear, generator)
    right, down = (_uniform(x, recipe.shift_px / HALF, generator) for _ in range(2))
    cos, sin = angle.cos(), angle.sin()
    weights = torch.stack([width * cos, slant - sin, right, sin, height * cos, down], dim=1)
    fields = _affine_fields(x)
    if recipe.elastic_px:
        knots = torch.randn(len(x), 2 * KNOTS**2, generator=generator, device=x.device)
        weights = torch.cat([weights, knots * (recipe.elastic_px / HALF)], dim=1)
        fields = torch.cat([fields, _elastic_fields(x)])
    return (weights @ fields).view(-1, 28, 28, 2)


def _affine_fields(x: Tensor) -> Tensor:
    """Give what an affine map is a sum of: x, y and 1 in either coordinate, (6, 28·28·2)."""
    centres = (torch.arange(28, device=x.device) + 0.5) / HALF - 1  # of pixels
    plane = torch.ones(3, 28, 28, device=x.device)
    plane[0], plane[1] = centres.view(1, 28), centres.view(28, 1)
    return _in_either_coordinate(plane)


def _elastic_fields(x: Tensor) -> Tensor:
    """Give what each knot does to the pixels around it: smooth hills, (2·5·5, 28·28·2)."""
    knots = torch.eye(KNOTS**2, device=x.device).view(-1, 1, KNOTS, KNOTS)
    hills = F.interpolate(knots, size=(28, 28), mode="bicubic", align_corners=True)
    return _in_either_coordinate(hills.squeeze(1))


def _in_either_coordinate(fields: Tensor) -> Tensor:
    """Give each field (28, 28) twice, as the first and as the second of two coordinates."""
    both = torch.zeros(2, *fields.shape, 2, device=fields.device)
    both[0, ..., 0] = both[1, ..., 1] = fields
    return both.view(2 * len(fields), -1)


def _thicker_or_thinner(x: Tensor, reach_px: float, generator: Generator) -> Tensor:
    """Grow the strokes of one half of the pictures, shrink the other's, by up to `reach_px`.

    A step of grey dilation or erosion moves an edge by a pixel; part of a step is a blend.
    """
    amount = _uniform(x, reach_px, generator).abs().view(-1, 1, 1, 1)
    half = len(x) // 2
    grown, shrunk = x[:half], x[half:]
    for step in range(math.ceil(reach_px)):
        part = (amount - step).clamp(0, 1)
        grown = torch.lerp(grown, _over_neighbours(torch.maximum, grown), part[:half])
        if step == 0:  # twice would make thin strokes vanish
            thin = _over_neighbours(torch.minimum, shrunk)
            shrunk = torch.lerp(shrunk, thin, part[half:] * 0.6)
    return torch.cat([grown, shrunk])


def _over_neighbours(extreme: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """Give the greatest or least of each pixel and the eight around it, a direction at a time.

    Several times as fast on a processor as `F.max_pool2d`. What lies outside is left out.
    """
    for side in (2, 3):
        ahead, behind = x.narrow(side, 1, 27), x.narrow(side, 0, 27)
        pairs = extreme(ahead, behind)  # of a pixel and the next
        inner = extreme(pairs.narrow(side, 0, 26), pairs.narrow(side, 1, 26))
        x = torch.cat([pairs.narrow(side, 0, 1), inner, pairs.narrow(side, 26, 1)], dim=side)
    return x


def _coarser(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Take a share of the pictures through a lower resolution, 7 to 16 pixels a side, and back."""
    slices = torch.split(x, _slices(len(x), share, parts=8))
    sides = torch.randint(7, 17, (8,), generator=generator, device=x.device).tolist()
    coarse = [
        F.interpolate(F.interpolate(s, size=side, mode="area"), size=28, mode="bilinear")
        for s, side in zip(slices[1:], sides, strict=False)
        if len(s)
    ]
    return torch.cat([slices[0], *coarse])


def _relit(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Move black and white points: faint or fat strokes, threshold-like edges, grey cores."""
    x = x.roll(len(x) // 3, dims=0)  # other pictures than the slices before
    n = int(len(x) * 0.5)
    some = x[:n]
    black = torch.rand(n, 1, 1, 1, generator=generator, device=x.device) * 90 * strength
    gain = 1 + torch.rand(n, 1, 1, 1, generator=generator, device=x.device) * 2.5 * strength
    top = 255 - torch.rand(n, 1, 1, 1, generator=generator, device=x.device) * 110 * strength
    some = torch.minimum(((some - black) * gain).clamp_min(0), top)
    return torch.cat([some, x[n:]]).roll(-(len(x) // 3), dims=0)


def _noisy(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Add grain to an eighth of the pictures, smooth stains to another, blank part of a third."""
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
    """Cut n into what is left alone, and a share in equal parts."""
    each = int(n * share / parts)
    return [n - each * parts, *([each] * parts)]


def _uniform(x: Tensor, reach: float, generator: Generator) -> Tensor:
    """Draw a number between -reach and reach for each picture: float32 (N,)."""
    return (torch.rand(len(x), generator=generator, device=x.device) * 2 - 1) * reach
