"""Crop parts of a picture to the canvas.

    canvas = crop_to_canvas(brightness, full_frame(brightness))     # (1, CANVAS, CANVAS)

Whatever a part's size and shape, it is stretched to one square canvas, so that all that follows
computes on arrays of one size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CANVAS = 64  # side of the square on which a picture is analysed
LEVELS = 5  # of the pyramid: cells of 2 to 32 pixels


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
    weights = overlap(centres, torch.arange(length) + 0.5, scale)
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


def crop_closer(brightness: Tensor, frames: Frames) -> Tensor:
    """Stretch parts of a picture to the canvas, from four rows for each of the canvas's.

    It costs little in a large picture, where `crop_to_canvas` reads all of it for each part.
    """
    n, (height, width) = len(frames.start), brightness.shape
    scale = frames.sides() / CANVAS
    steps = torch.arange(CANVAS) + 0.5
    centres = frames.start.unsqueeze(2) + scale.unsqueeze(2) * steps  # (N, 2, CANVAS)
    columns = _sampling_matrix(width, centres[:, 1], scale[:, 1:])
    taps = scale[:, :1].unsqueeze(2) * torch.tensor([-0.25, 0.25]) - 0.5
    last = torch.arange(height)[-1:].float()
    position = torch.minimum((centres[:, 0].unsqueeze(2) + taps).clamp_min(0), last)
    before = position.long().float()  # (N, CANVAS, 2)
    share = position - before
    rows = torch.cat([before, torch.minimum(before + 1, last)], 2).flatten().long()
    weights = torch.cat([1 - share, share], 2).unsqueeze(2) / 2  # (N, CANVAS, 1, 4)
    lines = brightness.index_select(0, rows).view(n, CANVAS, 4, width)
    return (weights @ lines).squeeze(2) @ columns.mT


def extremes(brightness: Tensor, canvas: Tensor, frame: Frames) -> tuple[Tensor, Tensor]:
    """Return the darkest and the brightest near each canvas pixel: two of (1, CANVAS, CANVAS).

    A digit of a few pixels in a large picture is lost in the mean of those that a canvas pixel
    covers, but not in their extremes. A picture that is smaller than the canvas has only the mean.
    """
    levels = [torch.stack([-brightness, brightness])]
    for _ in range(LEVELS):
        levels.append(F.max_pool2d(levels[-1], 2, 2, ceil_mode=True))
    cells = 2.0 ** torch.arange(1, LEVELS + 1)  # their side in pixels of the picture
    grids = ((frame.end + cells.unsqueeze(1) - 1) / cells.unsqueeze(1)).long().float()
    counts = grids[:, 0] * grids[:, 1]  # of cells, (LEVELS,)
    scale = frame.longer_side()[0] / CANVAS
    level = (scale.log2() - 0.001).clamp(0, LEVELS - 1).long()  # the first with cells of its width
    first, width, cell = torch.stack([counts.cumsum(0) - counts, grids[:, 1], cells])[:, level]
    steps = (torch.arange(CANVAS) + 0.5) / CANVAS
    row, column = (frame.end.T * steps / cell).long().float()  # (CANVAS,) each
    places = (first + row * width).unsqueeze(1) + column
    flat = torch.cat([each.flatten(1) for each in levels[1:]], 1)
    found = flat.index_select(1, places.flatten().long()).view(2, CANVAS, CANVAS)
    is_large = scale > 1
    darkest = torch.where(is_large, -found[:1], canvas)
    return darkest, torch.where(is_large, found[1:], canvas)
