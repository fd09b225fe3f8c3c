"""Find the digit's bounding box, and bring it into MNIST's form.

    seen = align(ink, frames)                      # (N, CANVAS, CANVAS) → (N, 28, 28)

As MNIST was made (LeCun, Cortes and Burges): the longer side is scaled to 20 pixels, the centre of
mass moved to the middle of 28×28. Ink is that of a frame stretched to the canvas, see `canvas`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS, Frames, overlap

SIDE = 28
DIGIT = 20  # pixels of the digit's longer side, as in MNIST
CENTRE = 14  # pixel index of the centre of mass, as in MNIST
MARGIN = 0.2  # of the box's longer side, kept around it in the second crop
MIN_INK = 0.4  # the amount from which on a pixel counts for the bounding box


def bounding_boxes(ink: Tensor, frames: Frames) -> Frames:
    """Return the boxes around all ink; the frame itself where there is none."""
    present = torch.stack([ink.amax(2), ink.amax(1)], 1) > MIN_INK  # (N, 2, CANVAS)
    positions = torch.arange(CANVAS).float()
    first = torch.where(present, positions, float(CANVAS)).amin(2)
    last = torch.where(present, positions + 1, 0.0).amax(2)
    is_empty = last == 0
    scale = frames.sides() / CANVAS
    start = frames.start + torch.where(is_empty, 0.0, first) * scale
    return Frames(start, frames.start + torch.where(is_empty, float(CANVAS), last) * scale)


def widen(boxes: Frames, limits: Frames) -> Frames:
    """Add a margin to boxes on all sides, as far as their limits allow."""
    margin = boxes.longer_side() * MARGIN
    start = torch.maximum(boxes.start - margin, limits.start)
    return Frames(start, torch.minimum(boxes.end + margin, limits.end))


def align(ink: Tensor, frames: Frames) -> Tensor:
    """Scale ink to 20 pixels, and move its centre of mass to the middle: (N, 28, 28), 0–1."""
    box = bounding_boxes(ink, frames)
    scale = box.longer_side() / DIGIT  # pixels of the picture per pixel of 28×28
    corner = box.start - scale * (SIDE - DIGIT) / 2
    mass = torch.stack([ink.sum(2), ink.sum(1)], 1)  # (N, 2, CANVAS)
    middle = mass @ (torch.arange(CANVAS) + 0.5) / mass.sum(2).clamp_min(1e-6)
    middle = frames.start + middle * (frames.sides() / CANVAS)
    # MNIST was moved by whole pixels.
    shift = (CENTRE + 0.5 - (middle - corner) / scale).round()
    return _normalise(_resample(ink, frames, corner - scale * shift, scale))


def keep_framing(ink: Tensor, frames: Frames) -> Tensor:
    """Scale a frame to the middle of 28×28 as it is: (N, 28, 28), 0–1."""
    scale = frames.longer_side() / SIDE
    corner = (frames.start + frames.end - scale * SIDE) / 2
    return _normalise(_resample(ink, frames, corner, scale))


def _resample(ink: Tensor, frames: Frames, corner: Tensor, scale: Tensor) -> Tensor:
    """Sample ink on a grid of 28×28.

    Args:
        ink: (N, CANVAS, CANVAS).
        frames: where the canvases lie in the picture.
        corner: top and left of the grid in the picture, (N, 2).
        scale: pixels of the picture between the grid's lines, (N, 1).
    """
    zoom = CANVAS / frames.sides()  # canvas pixels per pixel of the picture, (N, 2)
    step, offset = (scale * zoom).unsqueeze(2), ((corner - frames.start) * zoom).unsqueeze(2)
    grid, sources = torch.arange(SIDE) + 0.5, torch.arange(CANVAS) + 0.5
    weights = overlap(offset + grid * step, sources, step)  # (N, 2, 28, CANVAS)
    return weights[:, 0] @ ink @ weights[:, 1].mT


def _normalise(seen: Tensor) -> Tensor:
    """Scale ink (N, 28, 28) so that each maximum is 1."""
    return seen / seen.amax((1, 2), keepdim=True).clamp_min(1e-6)


def repair(aligned: Tensor, framed: Tensor) -> Tensor:
    """Repair strokes in ways that help where they are damaged, by morphology.

    Args:
        aligned: (1, 28, 28).
        framed: (1, 28, 28).

    Returns:
        (3, 28, 28): a closing of the aligned one, which fills gaps and outlines; and of the framed
        one a median of 3×3, which removes specks, and an opening, which removes thin lines.
    """
    closed = _erode(F.max_pool2d(aligned, 3, 1, 1))
    neighbours = F.conv2d(framed.unsqueeze(0), torch.eye(9).view(9, 1, 3, 3), padding=1)
    median = neighbours.topk(5, 1).values[0, 4:]
    return torch.cat([closed, median, F.max_pool2d(_erode(framed), 3, 1, 1)])


def _erode(x: Tensor) -> Tensor:
    """Take the minimum of each 3×3."""
    return -F.max_pool2d(-x, 3, 1, 1)
