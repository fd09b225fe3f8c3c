"""Separate ink from paper.

found = find_ink(levels)                       # (N, CANVAS, CANVAS), see `paper`
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS

BINS = 256


class Ink(NamedTuple):
    """Two classes of pixels in N maps of levels, and how much ink there is if either is ink."""

    dark: Tensor  # float32 (N, CANVAS, CANVAS): how much ink lies where if it is dark, 0–1
    bright: Tensor  # the same if it is bright
    separation: Tensor  # (N,): share of the variance that lies between the classes, 0–1
    contrast: Tensor  # (N,): difference of their mean levels, 0–1
    paper_score: Tensor  # (N,): how much the brighter class is like paper; 0 is undecided


def find_ink(levels: Tensor) -> Ink:
    """Split the pixels of (N, CANVAS, CANVAS) into two classes."""
    bright, low, high, separation = _otsu(levels)
    span = (high - low).clamp_min(1e-6)
    # The lowest third is the paper's grain and the strokes' blur. The ink's level is a mean; the
    # middle of a stroke is darker, and where it stays apart from the edges, strokes that touch
    # stay apart.
    dark_ink = (((high - levels) / span - 0.3) / (1.35 - 0.3)).clamp(0, 1)
    bright_ink = (((levels - low) / span - 0.3) / (1.35 - 0.3)).clamp(0, 1)
    return Ink(dark_ink, bright_ink, separation, (high - low).flatten(), _paper_score(bright))


def _otsu(levels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split pixels into the two classes with the largest variance between them (Otsu 1979).

    Returns:
        Where the brighter class is, 0 or 1 (N, CANVAS, CANVAS); the classes' means (N, 1, 1);
        and the share of the variance that lies between them (N,).
    """
    n = len(levels)
    lowest = levels.amin((1, 2), keepdim=True)
    span = (levels.amax((1, 2), keepdim=True) - lowest).clamp_min(1e-6)
    bins = ((levels - lowest) / span * (BINS - 1)).long()
    counted = bins[:, ::2, ::2].flatten(1)
    counts = torch.zeros(n, BINS).scatter_add(1, counted, (counted >= 0).float())
    grey = (torch.arange(BINS) + 0.5) / (BINS - 1)
    size = (CANVAS // 2) ** 2
    below, mass = counts.cumsum(1), (counts * grey).cumsum(1)
    above, total = size - below, mass[:, -1:]
    dark, bright = mass / below.clamp_min(1), (total - mass) / above.clamp_min(1)
    between = below * above * (dark - bright).square()
    best = between.argmax(1, keepdim=True)
    deviation = grey - total / size
    variance = (counts * deviation.square()).sum(1) * size
    separation = between.amax(1) / variance.clamp_min(1e-6)
    means = torch.stack([dark, bright]).gather(2, best.expand(2, n, 1)).unsqueeze(3)
    low, high = lowest + means * span
    return (bins > best.unsqueeze(2)).float(), low, high, separation


def _paper_score(bright: Tensor) -> Tensor:
    """Return a score of the brighter class as paper: (N, CANVAS, CANVAS) → (N,), 0 is undecided.

    Paper lies at the border, and most of all in the corners, which a digit hardly reaches. Its
    regions are thicker than strokes, so that more of them is left after an erosion. The weights
    were fitted (logistic regression, rounded) to pictures made of MNIST's last 10,000 training
    images, thick ink in tight crops among them, where ink is the majority.
    """
    position = ((torch.arange(CANVAS) + 0.5) / CANVAS * 2 - 1).abs()
    bands = torch.stack(
        [position >= 0, position < 0.9, position > 0.8]
    ).float()  # all, inner, outer
    sums = ((bands @ bright) * bands).sum(2)  # (N, 3): in each band both ways
    areas = bands.sum(1).square()
    majority, corners = sums[:, 0] / areas[0], sums[:, 2] / areas[2]
    border = (sums[:, 0] - sums[:, 1]) / (areas[0] - areas[1])
    outside = 0.8 * (border - 0.5) + 0.7 * (corners - 0.5)
    classes = torch.stack([bright, 1 - bright], 1)  # (N, 2, CANVAS, CANVAS)
    solid = _erode(classes).sum((2, 3)) / classes.sum((2, 3)).clamp_min(1)
    return outside + 1.1 * (solid[:, 0] - solid[:, 1]) - 1.2 * (majority - 0.5)


def _erode(classes: Tensor) -> Tensor:
    """Erode regions (…, CANVAS, CANVAS) by a tenth of the canvas."""
    reach = CANVAS // 10
    rows = F.max_pool2d(-classes, (2 * reach + 1, 1), 1, (reach, 0))
    return -F.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))
