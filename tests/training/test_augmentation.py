"""Augmentation moves pictures where the recipe says."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from mnistnet.training.augmentation import HALF, KNOTS, _grid, _thicker_or_thinner, _uniform
from mnistnet.training.recipe import Recipe


def test_pictures_are_turned_stretched_slanted_shifted_and_bent_as_torchs_own_grids_do() -> None:
    recipe = Recipe(rotation_deg=30.0, scale=0.2, shear=0.3, shift_px=3.0, elastic_px=1.0)
    x = torch.zeros(20, 1, 28, 28)
    drawn = torch.Generator().manual_seed(0)
    angle = _uniform(x, math.radians(recipe.rotation_deg), drawn)
    width, height = 1 + _uniform(x, recipe.scale, drawn), 1 + _uniform(x, recipe.scale, drawn)
    slant = _uniform(x, recipe.shear, drawn)
    right, down = (_uniform(x, recipe.shift_px / HALF, drawn) for _ in range(2))
    knots = torch.randn(20, 2, KNOTS, KNOTS, generator=drawn)
    across = torch.stack([width * angle.cos(), slant - angle.sin(), right], dim=1)
    along = torch.stack([angle.sin(), height * angle.cos(), down], dim=1)
    maps = torch.stack([across, along], dim=1)
    affine = F.affine_grid(maps, list(x.shape), align_corners=False)
    bends = F.interpolate(knots, size=(28, 28), mode="bicubic", align_corners=True)
    for elastic_px, expected in (
        (0.0, affine),
        (1.0, affine + bends.permute(0, 2, 3, 1) / HALF),
    ):
        torch.testing.assert_close(
            _grid(x, recipe.replacing(elastic_px=elastic_px), torch.Generator().manual_seed(0)),
            expected,
        )


def test_strokes_grow_and_shrink_by_the_greatest_and_least_of_nine_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 1, 28, 28, generator=generator) * 255
    drawn = torch.Generator().manual_seed(1)
    amount = _uniform(x, 1.0, drawn).abs().view(-1, 1, 1, 1)
    grown = torch.lerp(x[:20], F.max_pool2d(x[:20], 3, 1, 1), amount[:20])
    shrunk = torch.lerp(x[20:], -F.max_pool2d(-x[20:], 3, 1, 1), amount[20:] * 0.6)
    torch.testing.assert_close(
        _thicker_or_thinner(x, 1.0, torch.Generator().manual_seed(1)), torch.cat([grown, shrunk])
    )
