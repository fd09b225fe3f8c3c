"""Augment images in plain PyTorch: the reference for kernels/augmentation.h.

augment(images, draws)                         # uint8 (N, 28, 28) → uint8 (N, 28, 28)
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from mnistnet.training.draws import GAPS, GRAIN, KNOTS, STAINS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from mnistnet.training.draws import Draws, Noise


def augment(images: Tensor, draws: Draws) -> Tensor:
    """Augment images as the draws say: uint8 (N, 28, 28) → uint8 (N, 28, 28)."""
    x = images.unsqueeze(1).float()  # (N, 1, 28, 28), 0–255
    if draws.grid is not None:
        weights = _like(x, draws.grid)
        grid = weights @ _fields(elastic=weights.shape[1] > 6).to(x.device)
        x = F.grid_sample(x, grid.view(-1, 28, 28, 2), align_corners=False)
    if draws.stroke is not None:
        x = _dilate_or_erode(x, _like(x, draws.stroke).view(-1, 1, 1, 1))
    if draws.downsample is not None:
        resampling = _resampling().to(x.device)[_like(x, draws.downsample).long()]
        x = (resampling @ x.squeeze(1) @ resampling.mT).unsqueeze(1)
    if draws.contrast is not None:
        black, gain, white = _like(x, draws.contrast).T.reshape(3, -1, 1, 1, 1)
        x = torch.where(gain > 0, torch.minimum(((x - black) * gain).clamp_min(0), white), x)
    if draws.noise is not None:
        x = _add_noise(x, draws.noise)
    return x.squeeze(1).clamp(0, 255).round().to(torch.uint8)


@cache
def _fields(*, elastic: bool) -> Tensor:
    """Return the fields that sampling grids are made of, (6 or 6 + 2·25, 28·28·2): see `Draws`."""
    centres = (torch.arange(28) + 0.5) / 14 - 1  # of pixels
    x, y = centres.expand(28, 28), centres.view(28, 1).expand(28, 28)
    planes = [torch.stack([x, y, torch.ones(28, 28)])]
    if elastic:  # each knot's bicubic kernel
        knots = torch.eye(KNOTS**2).view(-1, 1, KNOTS, KNOTS)
        planes.append(F.interpolate(knots, (28, 28), mode="bicubic", align_corners=True)[:, 0])
    pairs = [torch.stack([plane, 0 * plane], -1) for plane in planes]  # (…, 28, 28, 2)
    return torch.cat([each for pair in pairs for each in (pair, pair.flip(-1))]).flatten(1)


@cache
def _resampling() -> Tensor:
    """Return the matrices that resample to a side of 7–16 pixels, by area, and back, bilinear."""
    found = torch.eye(28).repeat(17, 1, 1)
    for side in range(7, 17):
        smaller = F.interpolate(torch.eye(28).unsqueeze(0), side, mode="area")
        found[side] = F.interpolate(smaller, 28, mode="linear")[0].T
    return found


def _dilate_or_erode(x: Tensor, reach: Tensor) -> Tensor:
    """Dilate strokes by `reach` pixels, (N, 1, 1, 1), or erode them where that is negative.

    One grey dilation or erosion (3×3) moves an edge by a pixel; a fraction of a pixel is a blend.
    """
    amount = reach.abs()
    thin = -F.max_pool2d(-x, 3, 1, 1)  # once: twice would make thin strokes vanish
    eroded = torch.lerp(x, thin, amount.clamp(max=1) * 0.6)
    dilated = x
    for step in range(math.ceil(float(amount.max()))):
        thick = F.max_pool2d(dilated, 3, 1, 1)
        dilated = torch.lerp(dilated, thick, (amount - step).clamp(0, 1))
    return torch.where(reach > 0, dilated, eroded)


def _add_noise(x: Tensor, noise: Noise) -> Tensor:
    """Add grain and stains, and erase gaps, where they were drawn."""
    kind, row = _like(x, noise.kind), _like(x, noise.row).long()
    level = _like(x, noise.level).view(-1, 1, 1, 1)
    grainy, stained, gapped = ((kind == k).nonzero()[:, 0] for k in (GRAIN, STAINS, GAPS))
    grain, coarse = (_like(x, drawn).unsqueeze(1) for drawn in (noise.grain, noise.coarse))
    x[grainy] += grain[row[grainy]] * level[grainy]
    stains = F.interpolate(coarse[row[stained]], 28, mode="bilinear")
    x[stained] += stains.clamp_min(0) * level[stained] * 2
    x[gapped] *= 1 - F.interpolate(coarse[row[gapped]], 28)
    return x


def _like(x: Tensor, array: NDArray[Any]) -> Tensor:
    return torch.tensor(array, device=x.device)
