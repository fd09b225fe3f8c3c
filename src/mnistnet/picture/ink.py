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
    threshold, low, high, separation = _otsu(levels)
    contrast = (high - low).clamp_min(1e-6)
    # The lowest third is the paper's grain and the strokes' blur. The ink's level is a mean; the
    # middle of a stroke is darker, and where it stays apart from the edges, strokes that touch
    # stay apart.
    share = (levels - low) / contrast
    dark_ink = ((0.7 - share) / 1.05).clamp(0, 1)
    bright_ink = ((share - 0.3) / 1.05).clamp(0, 1)
    score = _paper_score((levels >= threshold).float())
    return Ink(dark_ink, bright_ink, separation, contrast.flatten(), score)


def _otsu(levels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split pixels into the two classes with the largest variance between them (Otsu 1979).

    Returns:
        The level from which on a pixel is in the brighter class, and the classes' means (N, 1, 1);
        and the share of the variance that lies between them (N,).
    """
    n, size = len(levels), (CANVAS // 2) ** 2
    lowest = levels.amin((1, 2), keepdim=True)
    span = (levels.amax((1, 2), keepdim=True) - lowest).clamp_min(1e-6)
    bins = ((levels[:, ::2, ::2] - lowest) * ((BINS - 1) / span)).flatten(1).long()
    counts = torch.zeros(n, BINS).scatter_add(1, bins, (bins >= 0).float())
    grey = (torch.arange(BINS) + 0.5) / (BINS - 1)
    moments = (counts.unsqueeze(0) * torch.stack([torch.ones(BINS), grey]).unsqueeze(1)).cumsum(2)
    below, mass = moments  # (N, BINS): number and sum of the darker pixels
    total = mass[:, -1:]
    sizes = (below * (size - below)).clamp_min(1)  # of the two classes, multiplied
    distance = size * mass - total * below
    most, best = (distance * distance / sizes).max(1, keepdim=True)
    variance = size * (counts @ (grey * grey)) - total.square().squeeze(1)
    split = moments.gather(2, best.expand(2, n, 1))
    dark, bright = (
        split[1] / split[0].clamp_min(1),
        (total - split[1]) / (size - split[0]).clamp_min(1),
    )
    edges = torch.stack([(best + 1) / (BINS - 1), dark, bright]).unsqueeze(3)
    threshold, low, high = lowest + edges * span
    return threshold, low, high, most.squeeze(1) / variance.clamp_min(1e-6)


def _paper_score(bright: Tensor) -> Tensor:
    """Return a score of the brighter class as paper: (N, CANVAS, CANVAS) → (N,), 0 is undecided.

    Paper lies at the border, and most of all in the corners, which a digit hardly reaches. Its
    regions are thicker than strokes, so that more of them is left after an erosion. The weights
    were fitted (logistic regression, rounded) to pictures made of MNIST's last 10,000 training
    images, thick ink in tight crops among them, where ink is the majority.
    """
    position = ((torch.arange(CANVAS) + 0.5) / CANVAS * 2 - 1).abs()
    nearest = torch.maximum(position, position.unsqueeze(1))  # to the border
    corner = torch.minimum(position, position.unsqueeze(1)) > 0.8
    border = nearest > 0.9
    place = 0.8 * border / border.sum() + 0.7 * corner / corner.sum() - 1.2 / CANVAS**2
    outside = (bright.flatten(1) @ place.flatten()) - (0.8 + 0.7 - 1.2) / 2
    classes = torch.stack([bright, 1 - bright], 1)  # (N, 2, CANVAS, CANVAS)
    solid = _erode(classes).sum((2, 3)) / classes.sum((2, 3)).clamp_min(1)
    return outside + solid @ torch.tensor([1.1, -1.1])


def _erode(classes: Tensor) -> Tensor:
    """Erode regions (…, CANVAS, CANVAS) by a tenth of the canvas."""
    reach = CANVAS // 10
    rows = F.max_pool2d(-classes, (2 * reach + 1, 1), 1, (reach, 0))
    return -F.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))
