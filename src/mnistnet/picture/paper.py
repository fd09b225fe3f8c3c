"""Compare the brightness of a canvas with its paper's.

levels = border_contrast(canvas)        # (N, CANVAS, CANVAS) → the same, 0 on paper
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS

RIM = 3  # width of the canvas's border


def border_contrast(canvas: Tensor) -> Tensor:
    """Return the difference from the border's brightness, continued inwards: (N, …), the same."""
    return (canvas - _border_inwards(canvas)).abs()


def local_contrast(canvas: Tensor, reach: int) -> Tensor:
    """Return how much darker pixels are than the paper near them, as a share of it: 0–1.

    The paper is a closing: what no square of the reach fits into is filled. So neither a gradient
    nor a shadow's edge is ink, if the shadow is wider than strokes.
    """
    wide = 2 * reach + 1
    paper = _spread(_spread(canvas, wide).neg(), wide).neg()
    return 1 - (canvas + 0.02) / (paper + 0.02)


def _spread(canvas: Tensor, side: int) -> Tensor:
    """Take the maximum of each square."""
    rows = F.max_pool2d(canvas.unsqueeze(1), (side, 1), 1, (side // 2, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, side // 2)).squeeze(1)


def _border_inwards(canvas: Tensor) -> Tensor:
    """Interpolate the border's brightness inwards: (1, CANVAS, CANVAS) → the same.

    A bilinearly blended patch (Coons 1967, MIT MAC-TR-41): the interpolation between left and
    right edge, plus that between top and bottom, minus that between the corners. It is exact for
    gradients, and for shadows and printed bands across the picture, if they are straight.
    """
    middle = torch.arange(CANVAS) + 0.5
    along = ((middle - RIM / 2) / (CANVAS - RIM)).clamp(0, 1)
    near = torch.stack([1 - along, along], 1)  # (CANVAS, 2): the weight of either edge
    pick = torch.zeros(2, CANVAS)  # averages over an edge's width
    pick[0, :RIM] = pick[1, -RIM:] = 1 / RIM
    rows, columns = near @ (pick @ canvas), (canvas @ pick.T) @ near.T
    return rows + columns - near @ (pick @ canvas @ pick.T) @ near.T


def roughness(brightness: Tensor) -> Tensor:
    """Return the variance between neighbours relative to that between any pixels.

    0 for a smooth picture, 1 for white noise.
    """
    down, across = brightness[1:] - brightness[:-1], brightness[:, 1:] - brightness[:, :-1]
    steps = (down.square().mean() + across.square().mean()) / 2
    variance = (brightness - brightness.mean()).square().mean()
    return steps / (2 * variance + 1e-6)
