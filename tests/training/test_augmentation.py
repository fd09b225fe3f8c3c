"""Augmentation is what torch's own operations make of the draws, on both engines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mnistnet.data import DataSet
from mnistnet.training.draws import (
    GAPS,
    GRAIN,
    HALF,
    KNOTS,
    STAINS,
    Draws,
    draw,
    generator_for,
)
from mnistnet.training.engine import Engine
from mnistnet.training.recipe import RELEASE, Recipe

PLAIN = Recipe(rotation_deg=0, scale=0, shear=0, shift_px=0)
STRONG = RELEASE.replacing(
    rotation_deg=30, scale=0.3, shear=0.3, shift_px=3, stroke_px=2.5, blur=1, contrast=1, noise=1
)
N = 300


@pytest.fixture
def digits(mnist: DataSet) -> NDArray[np.uint8]:
    return mnist.test.images[:N]


def _drawn(recipe: Recipe, seed: int = 0, n: int = N) -> Draws:
    return draw(recipe, generator_for(seed, 1), n)


def _warped(x: Tensor, draws: Draws) -> Tensor:
    """By torch's two functions for an affine grid and a smooth field."""
    assert draws.grid is not None
    weights = torch.tensor(draws.grid)
    grid = F.affine_grid(weights[:, :6].view(-1, 2, 3), list(x.shape), align_corners=False)
    if weights.shape[1] > 6:
        knots = weights[:, 6:].view(-1, 2, KNOTS, KNOTS)
        field = F.interpolate(knots, size=(28, 28), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    return F.grid_sample(x, grid, align_corners=False)


def _dilated_or_eroded(x: Tensor, draws: Draws) -> Tensor:
    assert draws.stroke is not None
    pictures = []
    for picture, reach in zip(x, draws.stroke.tolist(), strict=True):
        one = picture[None]
        for step in range(math.ceil(reach)):
            one = torch.lerp(one, F.max_pool2d(one, 3, 1, 1), min(reach - step, 1))
        if reach < 0:
            one = torch.lerp(one, -F.max_pool2d(-one, 3, 1, 1), min(-reach, 1) * 0.6)
        pictures.append(one)
    return torch.cat(pictures)


def _downsampled(x: Tensor, draws: Draws) -> Tensor:
    assert draws.downsample is not None
    pictures = []
    for picture, side in zip(x, draws.downsample.tolist(), strict=True):
        smaller = F.interpolate(picture[None], size=side or 28, mode="area")
        pictures.append(F.interpolate(smaller, size=28, mode="bilinear"))
    return torch.cat(pictures)


def _contrast_jittered(x: Tensor, draws: Draws) -> Tensor:
    assert draws.contrast is not None
    pictures = []
    for picture, (black, gain, white) in zip(x, draws.contrast.tolist(), strict=True):
        jittered = ((picture - black) * gain).clamp(0, white)
        pictures.append(jittered if gain else picture)
    return torch.stack(pictures)


def _noisy(x: Tensor, draws: Draws) -> Tensor:
    noise, pictures = draws.noise, []
    assert noise is not None
    for picture, kind, level, row in zip(x, noise.kind, noise.level, noise.row, strict=True):
        one = picture[None]
        if kind == GRAIN:
            one = one + torch.tensor(noise.grain[row]) * level
        if kind in (STAINS, GAPS):
            coarse = torch.tensor(noise.coarse[row]).view(1, 1, 7, 7)
            stains = F.interpolate(coarse, size=28, mode="bilinear").clamp_min(0) * level * 2
            gaps = F.interpolate(coarse, size=28, mode="nearest")
            one = one + stains if kind == STAINS else one * (1 - gaps)
        pictures.append(one)
    return torch.cat(pictures)


@pytest.mark.parametrize(
    ("fields", "function"),
    [
        (("grid",), _warped),
        (("stroke",), _dilated_or_eroded),
        (("downsample",), _downsampled),
        (("contrast",), _contrast_jittered),
        (("noise",), _noisy),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_each_kind_of_augmentation_is_what_torchs_functions_make_of_the_draws(
    digits: NDArray[np.uint8],
    engine: Engine,
    fields: tuple[str, ...],
    function: Callable[[Tensor, Draws], Tensor],
) -> None:
    everything = _drawn(STRONG)
    others = {name: None for name in vars(everything) if name not in fields}
    draws = replace(everything, **others)
    expected = function(torch.tensor(digits).unsqueeze(1).float(), draws).clamp(0, 255)
    augmented = torch.tensor(engine.augment(digits, draws)).unsqueeze(1).float()
    assert (augmented - expected).abs().max() <= 1
    assert not torch.equal(augmented, torch.tensor(digits).unsqueeze(1).float())


@pytest.mark.parametrize("recipe", [Recipe(), RELEASE, STRONG], ids=["fast", "release", "strong"])
def test_both_engines_make_the_same_pictures_of_the_same_draws_to_a_grey_level(
    digits: NDArray[np.uint8], engine: Engine, reference: Engine, recipe: Recipe
) -> None:
    draws = _drawn(recipe)
    ours, theirs = engine.augment(digits, draws), reference.augment(digits, draws)
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001  # where rounding decides
    parts = [engine.augment(digits[i : i + 100], draws.part(i, i + 100)) for i in (0, 100, 200)]
    np.testing.assert_array_equal(np.concatenate(parts), ours)


def test_without_any_kind_pictures_stay_as_they_are(
    digits: NDArray[np.uint8], engine: Engine
) -> None:
    np.testing.assert_array_equal(engine.augment(digits, _drawn(PLAIN)), digits)


@pytest.mark.parametrize(
    ("field", "share"), [("downsample", 0.5), ("contrast", 0.5), ("noise", 0.375)]
)
def test_the_other_kinds_are_drawn_for_their_share_of_the_pictures(
    field: str, share: float
) -> None:
    draws = _drawn(PLAIN.replacing(blur=0.5, contrast=1, noise=1), n=10_000)
    drawn = getattr(draws, field)
    touched = {"contrast": lambda: drawn[:, 1], "noise": lambda: drawn.kind}.get(
        field, lambda: drawn
    )()
    assert (touched > 0).mean() == pytest.approx(share, abs=0.02)  # four standard deviations


def test_draws_are_within_the_recipes_reach_and_fill_it() -> None:
    draws = _drawn(RELEASE.replacing(elastic_px=0), n=10_000)
    assert draws.grid is not None
    assert draws.stroke is not None
    shift = np.abs(draws.grid[:, (2, 5)]).max() * HALF
    assert shift == pytest.approx(RELEASE.shift_px, rel=0.01)
    assert draws.stroke.min() == pytest.approx(-RELEASE.stroke_px, rel=0.01)
    assert draws.stroke.max() == pytest.approx(RELEASE.stroke_px, rel=0.01)
    dropout = _drawn(Recipe(dropout=0.25), n=1000).dropout
    assert dropout is not None
    assert (dropout == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert dropout.mean() == pytest.approx(1, abs=0.02)


def test_each_seed_and_epoch_has_its_own_draws() -> None:
    firsts = [generator_for(seed, epoch).random(5) for seed, epoch in ((0, 1), (0, 2), (1, 1))]
    assert len({tuple(first) for first in firsts}) == 3
    np.testing.assert_array_equal(generator_for(0, 1).random(5), firsts[0])
    assert generator_for(0, 1, for_weights=True).random() != firsts[0][0]
