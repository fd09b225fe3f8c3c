"""Compare the brightness of a canvas with its paper's.

levels = border_contrast(canvas)        # (N, CANVAS, CANVAS) → the same, 0 on paper
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS, Frames

RIM = 3  # width of the canvas's border


def border_contrast(canvas: Tensor) -> Tensor:
    """Return the difference from the border's brightness, continued inwards: (N, …), the same.

    The paper is a bilinearly blended patch (Coons 1967, MIT MAC-TR-41): the interpolation between
    left and right edge, plus that between top and bottom, minus that between the corners. It is
    exact for gradients, and for shadows and printed bands across the picture, if they are straight.
    """
    middle = torch.arange(CANVAS) + 0.5
    along = ((middle - RIM / 2) / (CANVAS - RIM)).clamp(0, 1)
    near = torch.stack([1 - along, along], 1)  # (CANVAS, 2): the weight of either edge
    edge = (torch.arange(CANVAS) < RIM) / RIM  # averages over an edge's width
    remove = torch.eye(CANVAS) - near @ torch.stack([edge, edge.flip(0)])
    return (remove @ canvas @ remove.T).abs()


def local_contrast(canvas: Tensor, reach: int) -> Tensor:
    """Return how much darker pixels are than the paper near them, as a share of it: 0–1.

    The paper is a closing: what no square of the reach fits into is filled. So neither a gradient
    nor a shadow's edge is ink, if the shadow is wider than strokes.
    """
    maps = canvas.unsqueeze(1)
    paper = -_spread(-_spread(maps, reach), reach)
    return ((paper - maps) / (paper + 0.02)).squeeze(1)


def _spread(maps: Tensor, reach: int) -> Tensor:
    """Take the maximum of each square of (N, 1, CANVAS, CANVAS)."""
    wide = 2 * reach + 1
    return F.max_pool2d(F.max_pool2d(maps, (wide, 1), 1, (reach, 0)), (1, wide), 1, (0, reach))


def roughness(brightness: Tensor, frame: Frames) -> Tensor:
    """Return the variance between neighbours relative to that between any pixels.

    Of some rows of the picture; 0 if it is smooth, 1 for white noise.
    """
    steps = torch.arange(CANVAS) / CANVAS
    first = ((frame.end[0, 0] - 1) * steps).long()
    rows = brightness.index_select(0, first)
    down, across = brightness.index_select(0, first + 1) - rows, rows[:, 1:] - rows[:, :-1]
    change = ((down * down).mean() + (across * across).mean()) / 2
    deviation = rows - rows.mean()
    return change / (2 * (deviation * deviation).mean() + 1e-6)
