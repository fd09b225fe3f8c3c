"""Augmentation moves pictures where the recipe says."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from mnistnet.training.augmentation import HALF, _affine_grid, _uniform
from mnistnet.training.recipe import Recipe


def test_pictures_are_turned_stretched_slanted_and_shifted_as_torchs_own_grid_does() -> None:
    recipe = Recipe(rotation_deg=30.0, scale=0.2, shear=0.3, shift_px=3.0)
    x = torch.zeros(20, 1, 28, 28)
    drawn = torch.Generator().manual_seed(0)
    angle = _uniform(x, math.radians(recipe.rotation_deg), drawn)
    width, height = 1 + _uniform(x, recipe.scale, drawn), 1 + _uniform(x, recipe.scale, drawn)
    slant = _uniform(x, recipe.shear, drawn)
    right, down = (_uniform(x, recipe.shift_px / HALF, drawn) for _ in range(2))
    across = torch.stack([width * angle.cos(), slant - angle.sin(), right], dim=1)
    along = torch.stack([angle.sin(), height * angle.cos(), down], dim=1)
    maps = torch.stack([across, along], dim=1)
    torch.testing.assert_close(
        _affine_grid(x, recipe, torch.Generator().manual_seed(0)),
        F.affine_grid(maps, list(x.shape), align_corners=False),
    )
