"""Separate ink from paper, and the digit's ink from specks.

found = find_ink(levels)                       # (2, CANVAS, CANVAS), see `canvas`
digit = remove_specks(found.amount)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS

CELL = 4  # side of the cells, in pixels, on which connected components are found
FLOOD_STEPS = 36  # how many cells a component may reach from its densest place
BINS = 256


class Ink(NamedTuple):
    """What was found under each of the two assumptions on the paper."""

    amount: Tensor  # float32 (2, CANVAS, CANVAS): how much ink lies where, 0–1
    separation: Tensor  # (2,): share of the variance that lies between ink and paper, 0–1
    contrast: Tensor  # (2,): difference of their mean levels, 0–1
    polarity_confidence: Tensor  # (2,): how clear it is which class is ink; 0 where it is given


def find_ink(levels: Tensor) -> Ink:
    """Split pixels into two classes, and decide which is ink.

    Args:
        levels: (2, CANVAS, CANVAS): brightness, where ink may be dark or bright; and distance from
            the paper's brightness, where ink is the distant class.
    """
    bright, low, high, separation = _otsu(levels)
    score = _paper_score(bright) * torch.tensor([1.0, 0.0])
    paper_is_bright = (score > 0).view(2, 1, 1)
    depth = torch.where(paper_is_bright, high - levels, levels - low)
    # The lowest third is the paper's grain and the strokes' blur. The ink's level is a mean; the
    # middle of a stroke is darker, and where it stays apart from the edges, strokes that touch
    # stay apart.
    amount = ((depth / (high - low).clamp_min(1e-6) - 0.3) / (1.35 - 0.3)).clamp(0, 1)
    return Ink(amount, separation, (high - low).flatten(), score.abs().clamp_max(0.6))


def _otsu(levels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split pixels into the two classes with the largest variance between them (Otsu 1979).

    Returns:
        Where the brighter class is, 0 or 1 (2, CANVAS, CANVAS); the classes' means (2, 1, 1);
        and the share of the variance that lies between them (2,).
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


def _paper_score(bright: Tensor) -> Tensor:
    """Return a score of the brighter class as paper: (2, CANVAS, CANVAS) → (2,), 0 is undecided.

    Paper lies at the border, and most of all in the corners, which a digit hardly reaches. Its
    regions are thicker than strokes, so that more of them is left after an erosion. The weights
    were fitted (logistic regression, rounded) to pictures made of MNIST's last 10,000 training
    images, thick ink in tight crops among them, where ink is the majority.
    """
    position = ((torch.arange(CANVAS) + 0.5) / CANVAS * 2 - 1).abs()
    bands = torch.stack(
        [position >= 0, position < 0.9, position > 0.8]
    ).float()  # all, inner, outer
    sums = ((bands @ bright) * bands).sum(2)  # (2, 3): in each band both ways
    areas = bands.sum(1).square()
    majority, corners = sums[:, 0] / areas[0], sums[:, 2] / areas[2]
    border = (sums[:, 0] - sums[:, 1]) / (areas[0] - areas[1])
    outside = 0.8 * (border - 0.5) + 0.7 * (corners - 0.5)
    classes = torch.stack([bright, 1 - bright], 1)  # (2, 2, CANVAS, CANVAS)
    solid = _erode(classes).sum((2, 3)) / classes.sum((2, 3)).clamp_min(1)
    return outside + 1.1 * (solid[:, 0] - solid[:, 1]) - 1.2 * (majority - 0.5)


def _erode(classes: Tensor) -> Tensor:
    """Erode regions (…, CANVAS, CANVAS) by a tenth of the canvas."""
    reach = CANVAS // 10
    rows = F.max_pool2d(-classes, (2 * reach + 1, 1), 1, (reach, 0))
    return -F.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))


def remove_specks(ink: Tensor) -> Tensor:
    """Keep the connected component with the most ink: (2, CANVAS, CANVAS) → the same.

    Found by flooding, a step per cell, over cells that hold ink or lie next to one that does: so
    small gaps in a stroke are crossed, and wide ones are not.
    """
    amount = F.avg_pool2d(ink.unsqueeze(1), CELL)  # (2, 1, cells, cells)
    density = F.avg_pool2d(amount, 7, 1, 3)
    component = (density >= density.amax((2, 3), keepdim=True)).float()
    allowed = F.max_pool2d((amount > 0.1).float(), 3, 1, 1)
    for _ in range(FLOOD_STEPS):
        component = F.max_pool2d(component, 3, 1, 1) * allowed
    return ink * F.interpolate(component, scale_factor=float(CELL)).squeeze(1)
