"""Look at a part of a picture, and tell how its light differs from the paper's.

    levels = light_against_paper(look(light, frame))      # (2, CANVAS, CANVAS)

Whatever a part's size and shape, it is stretched to one square canvas, so that all that follows
works on arrays of one size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CANVAS = 96  # side of the square on which a picture is judged
RIM = 4  # width of the canvas's border


class Frames(NamedTuple):
    """N rectangles in a picture, in its pixels: where rows and columns start and end."""

    start: Tensor  # (N, 2): top and left
    end: Tensor  # (N, 2): bottom and right

    def sides(self) -> Tensor:
        """Give heights and widths (N, 2), at least a thousandth of a pixel."""
        return (self.end - self.start).clamp_min(1e-3)

    def longer_side(self) -> Tensor:
        """Give the longer of height and width (N, 1)."""
        return self.sides().amax(1, keepdim=True)


def whole(light: Tensor) -> Frames:
    """Give a picture's frame; lengths stay tensors, so that any may be exported."""
    lengths = torch.cat([torch.arange(side)[-1:] for side in light.shape]) + 1.0
    return Frames(torch.zeros(1, 2), lengths.unsqueeze(0))


def look(light: Tensor, frames: Frames) -> Tensor:
    """Stretch parts of a picture to the canvas, averaging or interpolating.

    Args:
        light: float32 (H, W), 0 black to 1 white.
        frames: the parts.

    Returns:
        float32 (N, CANVAS, CANVAS).
    """
    scale = frames.sides() / CANVAS  # source pixels a canvas pixel
    steps = torch.arange(CANVAS) + 0.5
    centres = frames.start.unsqueeze(2) + scale.unsqueeze(2) * steps  # (N, 2, CANVAS)
    rows = _sampling(light.shape[0], centres[:, 0], scale[:, :1])
    columns = _sampling(light.shape[1], centres[:, 1], scale[:, 1:])
    return rows @ light @ columns.mT


def _sampling(length: int, centres: Tensor, scale: Tensor) -> Tensor:
    """Build the matrices that sample one axis: (N, CANVAS) and (N, 1) → (N, CANVAS, length).

    A canvas pixel averages the source pixels that it covers; where it is smaller than they are,
    it lies between two of them and takes from both.
    """
    sources = torch.arange(length) + 0.5
    nearest = torch.minimum(centres.clamp_min(0.5), sources[-1])  # beyond the edge: the edge
    weights = overlap(nearest, sources, scale)
    return weights / weights.sum(2, keepdim=True)


def overlap(centres: Tensor, sources: Tensor, scale: Tensor) -> Tensor:
    """Give how much of each source pixel lies under each window, 0–1.

    Two intervals, of which the wider is at least a source pixel wide: a trapezoid.

    Args:
        centres: of the windows, in source pixels (…, M).
        sources: where source pixels have their centres (L,).
        scale: source pixels a window (…, 1).

    Returns:
        (…, M, L).
    """
    reach = (scale.clamp_min(1) + 1) / 2
    distance = (centres.unsqueeze(-1) - sources).abs()
    return (reach.unsqueeze(-1) - distance).clamp(0, 1)


def light_against_paper(canvas: Tensor) -> Tensor:
    """Tell light from the paper's in two ways.

    Args:
        canvas: (1, CANVAS, CANVAS); or (2, …), one for each way.

    Returns:
        (2, CANVAS, CANVAS): the light as it is, to be split in two classes either of which may be
        paper; and how far it is, either way, from what the border lets expect.
    """
    return torch.cat([canvas[:1], (canvas[-1:] - _from_border(canvas[-1:])).abs()])


def _from_border(canvas: Tensor) -> Tensor:
    """Continue the border's light inwards: (1, CANVAS, CANVAS) → the same.

    Coons 1967 (MIT MAC-TR-41): what the left and right edge make of it, plus what top and bottom
    do, less what the corners do. Gradients, shadows and printed bands across the picture are
    met exactly, if they are straight.
    """
    middle = torch.arange(CANVAS) + 0.5
    along = ((middle - RIM / 2) / (CANVAS - RIM)).clamp(0, 1)
    near = torch.stack([1 - along, along], 1)  # (CANVAS, 2): the weight of either edge
    pick = torch.zeros(2, CANVAS)  # averages an edge's width
    pick[0, :RIM] = pick[1, -RIM:] = 1 / RIM
    rows, columns = near @ (pick @ canvas), (canvas @ pick.T) @ near.T
    return rows + columns - near @ (pick @ canvas @ pick.T) @ near.T


def roughness(light: Tensor) -> Tensor:
    """Compare how neighbouring pixels differ with how any two do: 0 if smooth, 1 if noise."""
    down, across = light[1:] - light[:-1], light[:, 1:] - light[:, :-1]
    steps = (down.square().mean() + across.square().mean()) / 2
    variance = (light - light.mean()).square().mean()
    return steps / (2 * variance + 1e-6)
