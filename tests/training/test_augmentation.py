"""Augmentation equals torch's own affine grids, interpolation and pooling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from mnistnet.training.augmentation import HALF, KNOTS, augment
from mnistnet.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from mnistnet.data import DataSet

PLAIN = Recipe(rotation_deg=0, scale=0, shear=0, shift_px=0)


@pytest.fixture
def digits(mnist: DataSet) -> Tensor:
    return torch.tensor(mnist.test.images[:40])


def _uniform(generator: Generator, reach: float) -> Tensor:
    return (torch.rand(40, generator=generator) * 2 - 1) * reach


def _assert_within_one_grey_level(augmented: Tensor, expected: Tensor) -> None:
    difference = (augmented.float() - expected.squeeze(1).clamp(0, 255)).abs()
    assert difference.max() <= 1


@pytest.mark.parametrize("elastic_px", [0.0, 1.0])
def test_geometry_is_an_affine_grid_plus_a_smooth_displacement(
    digits: Tensor, elastic_px: float
) -> None:
    recipe = Recipe(rotation_deg=30, scale=0.2, shear=0.3, shift_px=3, elastic_px=elastic_px)
    drawn = torch.Generator().manual_seed(0)
    angle = _uniform(drawn, math.radians(30))
    width, height = 1 + _uniform(drawn, 0.2), 1 + _uniform(drawn, 0.2)
    shear = _uniform(drawn, 0.3)
    right, down = _uniform(drawn, 3 / HALF), _uniform(drawn, 3 / HALF)
    x_row = torch.stack([width * angle.cos(), shear - angle.sin(), right], dim=1)
    y_row = torch.stack([angle.sin(), height * angle.cos(), down], dim=1)
    x = digits.unsqueeze(1).float()
    grid = F.affine_grid(torch.stack([x_row, y_row], dim=1), list(x.shape), align_corners=False)
    if elastic_px:
        knots = torch.randn(40, 2, KNOTS, KNOTS, generator=drawn)
        field = F.interpolate(knots, size=(28, 28), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1) / HALF
    augmented = augment(digits, recipe, torch.Generator().manual_seed(0))
    _assert_within_one_grey_level(augmented, F.grid_sample(x, grid, align_corners=False))
    assert not torch.equal(augmented, digits)


def test_strokes_are_dilated_in_one_half_and_eroded_in_the_other(digits: Tensor) -> None:
    amount = _uniform(torch.Generator().manual_seed(1), 1.0).abs().view(-1, 1, 1, 1)
    x = digits.unsqueeze(1).float()
    dilated = torch.lerp(x[:20], F.max_pool2d(x[:20], 3, 1, 1), amount[:20])
    eroded = torch.lerp(x[20:], -F.max_pool2d(-x[20:], 3, 1, 1), amount[20:] * 0.6)
    augmented = augment(digits, PLAIN.replacing(stroke_px=1.0), torch.Generator().manual_seed(1))
    _assert_within_one_grey_level(augmented, torch.cat([dilated, eroded]))


@pytest.mark.parametrize(("kind", "share"), [("blur", 0.5), ("contrast", 0.5), ("noise", 0.375)])
def test_the_other_kinds_change_their_share_of_the_pictures(
    digits: Tensor, kind: str, share: float
) -> None:
    recipe = PLAIN.replacing(**{kind: share if kind == "blur" else 1.0})
    augmented = augment(digits, recipe, torch.Generator().manual_seed(0))
    changed = (augmented != digits).flatten(1).any(1)
    assert 0 < changed.float().mean() <= share
    assert torch.equal(augment(digits, PLAIN, torch.Generator()), digits)
