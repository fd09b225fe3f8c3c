"""Crop a part of a picture to the canvas, and compare its brightness with the paper's.

    levels = contrast_with_paper(crop_to_canvas(brightness, frame))     # (2, CANVAS, CANVAS)

Whatever a part's size and shape, it is stretched to one square canvas, so that all that follows
computes on arrays of one size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CANVAS = 96  # side of the square on which a picture is analysed
RIM = 4  # width of the canvas's border


class Frames(NamedTuple):
    """N rectangles in a picture, in its pixels: where rows and columns start and end."""

    start: Tensor  # (N, 2): top and left
    end: Tensor  # (N, 2): bottom and right

    def sides(self) -> Tensor:
        """Return heights and widths (N, 2), at least a thousandth of a pixel."""
        return (self.end - self.start).clamp_min(1e-3)

    def longer_side(self) -> Tensor:
        """Return the longer of height and width (N, 1)."""
        return self.sides().amax(1, keepdim=True)


def full_frame(brightness: Tensor) -> Frames:
    """Return the frame of a whole picture; lengths stay tensors, so that any can be exported."""
    lengths = torch.cat([torch.arange(side)[-1:] for side in brightness.shape]) + 1.0
    return Frames(torch.zeros(1, 2), lengths.unsqueeze(0))


def crop_to_canvas(brightness: Tensor, frames: Frames) -> Tensor:
    """Stretch parts of a picture to the canvas, averaging or interpolating.

    Args:
        brightness: float32 (H, W), 0 black to 1 white.
        frames: the parts.

    Returns:
        float32 (N, CANVAS, CANVAS).
    """
    scale = frames.sides() / CANVAS  # source pixels per canvas pixel
    steps = torch.arange(CANVAS) + 0.5
    centres = frames.start.unsqueeze(2) + scale.unsqueeze(2) * steps  # (N, 2, CANVAS)
    rows = _sampling_matrix(brightness.shape[0], centres[:, 0], scale[:, :1])
    columns = _sampling_matrix(brightness.shape[1], centres[:, 1], scale[:, 1:])
    return rows @ brightness @ columns.mT


def _sampling_matrix(length: int, centres: Tensor, scale: Tensor) -> Tensor:
    """Return the matrices that sample one axis: (N, CANVAS) and (N, 1) → (N, CANVAS, length).

    A canvas pixel averages the source pixels that it covers; one that is smaller than they are
    interpolates between the nearest two.
    """
    sources = torch.arange(length) + 0.5
    nearest = torch.minimum(centres.clamp_min(0.5), sources[-1])  # beyond the edge: the edge
    weights = overlap(nearest, sources, scale)
    return weights / weights.sum(2, keepdim=True)


def overlap(centres: Tensor, sources: Tensor, scale: Tensor) -> Tensor:
    """Return the share of each source pixel that each window covers, 0–1.

    The overlap of two intervals, the wider at least a source pixel wide, is a trapezoid.

    Args:
        centres: of the windows, in source pixels (…, M).
        sources: centres of the source pixels (L,).
        scale: width of a window in source pixels (…, 1).

    Returns:
        (…, M, L).
    """
    reach = (scale.clamp_min(1) + 1) / 2
    distance = (centres.unsqueeze(-1) - sources).abs()
    return (reach.unsqueeze(-1) - distance).clamp(0, 1)


def contrast_with_paper(canvas: Tensor) -> Tensor:
    """Compare brightness with the paper's under two assumptions.

    Args:
        canvas: (1, CANVAS, CANVAS); or (2, …), one for each assumption.

    Returns:
        (2, CANVAS, CANVAS): the brightness itself, for paper of one brightness, which may be the
        darker or the brighter class; and its absolute difference from the paper's where the
        border is paper that continues inwards.
    """
    return torch.cat([canvas[:1], (canvas[-1:] - _border_inwards(canvas[-1:])).abs()])


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
