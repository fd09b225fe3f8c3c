"""Tell ink from paper, and the digit's ink from stray marks.

found = find_ink(levels)                       # (2, CANVAS, CANVAS), see `light`
digit = without_strays(found.amount)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS

CELL = 4  # side of the cells on which stray marks are told from the digit
FLOOD = 36  # cells that ink may reach from its densest place
BINS = 256


class Ink(NamedTuple):
    """What was found, in each of two ways."""

    amount: Tensor  # float32 (2, CANVAS, CANVAS): how much ink lies where, 0–1
    separation: Tensor  # (2,): how clearly ink and paper differ, 0–1
    contrast: Tensor  # (2,): how far apart their light is, 0–1
    sureness: Tensor  # (2,): how clear it is which of them is the ink; 0 where nothing was asked


def find_ink(levels: Tensor) -> Ink:
    """Split the light in two classes, and decide which is ink.

    Args:
        levels: (2, CANVAS, CANVAS): first light, in which ink may be dark or bright; then
            distance from the paper's light, in which ink is what is far.
    """
    bright, low, high, separation = _split(levels)
    side = _paperness(bright) * torch.tensor([1.0, 0.0])
    paper_is_bright = (side > 0).view(2, 1, 1)
    depth = torch.where(paper_is_bright, high - levels, levels - low)
    # The lowest third is the paper's grain and the strokes' blur. The ink's level is a mean; its
    # cores are darker, and where they stay apart from the edges, strokes that touch stay apart.
    amount = ((depth / (high - low).clamp_min(1e-6) - 0.3) / (1.35 - 0.3)).clamp(0, 1)
    return Ink(amount, separation, (high - low).flatten(), side.abs().clamp_max(0.6))


def _split(levels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split pixels in two classes where the variance between them is greatest (Otsu 1979).

    Returns:
        Where the brighter class is, 0 or 1 (2, CANVAS, CANVAS); the classes' means (2, 1, 1);
        and the share of all variance that lies between them (2,).
    """
    lowest = levels.amin((1, 2), keepdim=True)
    span = (levels.amax((1, 2), keepdim=True) - lowest).clamp_min(1e-6)
    bins = ((levels - lowest) / span * (BINS - 1)).long().flatten(1)
    counts = torch.zeros(2, BINS).scatter_add(1, bins, (bins >= 0).float())
    grey = (torch.arange(BINS) + 0.5) / (BINS - 1)
    below, mass = counts.cumsum(1), (counts * grey).cumsum(1)
    above, total = CANVAS * CANVAS - below, mass[:, -1:]
    dark, bright = mass / below.clamp_min(1), (total - mass) / above.clamp_min(1)
    between = below * above * (dark - bright).square()
    best = between.argmax(1, keepdim=True)
    deviation = grey - total / CANVAS**2
    variance = (counts * deviation.square()).sum(1) * CANVAS**2
    separation = between.amax(1) / variance.clamp_min(1e-6)
    means = torch.stack([dark, bright]).gather(2, best.expand(2, 2, 1)).unsqueeze(3)
    low, high = lowest + means * span
    return (bins > best).float().view_as(levels), low, high, separation


def _paperness(bright: Tensor) -> Tensor:
    """Judge whether the brighter class is paper: above 0 if so; (2, CANVAS, CANVAS) → (2,).

    Paper lies at the border, and most of all in the corners, which a digit hardly reaches. Its
    patches are thicker than strokes, so that more of it is left when edges are eaten away. The
    weights were fitted (logistic regression, rounded) to pictures made of MNIST's last 10,000
    training images, thick ink in tight crops among them, where ink is the majority.
    """
    place = ((torch.arange(CANVAS) + 0.5) / CANVAS * 2 - 1).abs()
    bands = torch.stack([place >= 0, place < 0.9, place > 0.8]).float()  # all, inner, outer
    sums = ((bands @ bright) * bands).sum(2)  # (2, 3): in each band both ways
    areas = bands.sum(1).square()
    majority, corners = sums[:, 0] / areas[0], sums[:, 2] / areas[2]
    border = (sums[:, 0] - sums[:, 1]) / (areas[0] - areas[1])
    outside = 0.8 * (border - 0.5) + 0.7 * (corners - 0.5)
    classes = torch.stack([bright, 1 - bright], 1)  # (2, 2, CANVAS, CANVAS)
    solid = _eaten(classes).sum((2, 3)) / classes.sum((2, 3)).clamp_min(1)
    return outside + 1.1 * (solid[:, 0] - solid[:, 1]) - 1.2 * (majority - 0.5)


def _eaten(marks: Tensor) -> Tensor:
    """Eat a tenth of the canvas off the edges of marks (…, CANVAS, CANVAS)."""
    reach = CANVAS // 10
    rows = F.max_pool2d(-marks, (2 * reach + 1, 1), 1, (reach, 0))
    return -F.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))


def without_strays(ink: Tensor) -> Tensor:
    """Keep what hangs together with the greatest mass of ink: (2, CANVAS, CANVAS) → the same.

    Flooding, a step a cell, over cells that hold ink or lie next to one that does: small gaps in
    a stroke are crossed, wide ones are not.
    """
    held = F.avg_pool2d(ink.unsqueeze(1), CELL)  # (2, 1, cells, cells)
    crowd = F.avg_pool2d(held, 7, 1, 3)
    flood = (crowd >= crowd.amax((2, 3), keepdim=True)).float()
    ground = F.max_pool2d((held > 0.1).float(), 3, 1, 1)
    for _ in range(FLOOD):
        flood = F.max_pool2d(flood, 3, 1, 1) * ground
    return ink * F.interpolate(flood, scale_factor=float(CELL)).squeeze(1)
