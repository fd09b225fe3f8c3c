"""Pictures varied as handwriting varies, a few thousand at a time, in torch operations.

    varied = augment(images, recipe)        # uint8 (N, 28, 28) → uint8 (N, 28, 28)

Every kind has its strength in the recipe, and a strength of nought leaves it out. All draws come
from torch's global generator, which the training loop seeds for each epoch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from mnistnet.training.recipe import Recipe

HALF = 14  # pixels from the centre to the edge; grid coordinates run from -1 to 1


def augment(images: Tensor, recipe: Recipe) -> Tensor:
    """Vary pictures at random, each on its own.

    Args:
        images: uint8 (N, 28, 28), ink bright on dark.
        recipe: says how strongly.

    Returns:
        uint8 (N, 28, 28), on the same device.
    """
    if not (recipe.rotation_deg or recipe.scale or recipe.shear or recipe.shift_px):
        return images
    x = images.unsqueeze(1).float()  # (N, 1, 28, 28), 0–255
    x = F.grid_sample(x, _affine_grid(x, recipe), align_corners=False)
    return x.squeeze(1).round().to(torch.uint8)


def _affine_grid(x: Tensor, recipe: Recipe) -> Tensor:
    """Draw where each output pixel looks in its picture: (N, 28, 28, 2), coordinates -1 to 1."""
    angle = _uniform(x, math.radians(recipe.rotation_deg))
    width, height = 1 + _uniform(x, recipe.scale), 1 + _uniform(x, recipe.scale)
    slant = _uniform(x, recipe.shear)
    right, down = _uniform(x, recipe.shift_px / HALF), _uniform(x, recipe.shift_px / HALF)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([width * cos, slant - sin, right, sin, height * cos, down], dim=1)
    return F.affine_grid(rows.view(-1, 2, 3), list(x.shape), align_corners=False)


def _uniform(x: Tensor, reach: float) -> Tensor:
    """Draw a number between -reach and reach for each picture: float32 (N,)."""
    return (torch.rand(len(x), device=x.device) * 2 - 1) * reach
