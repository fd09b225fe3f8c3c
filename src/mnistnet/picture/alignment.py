"""Find the digit's box, and bring it into MNIST's form.

    seen = as_mnist(ink, frames)                   # (N, CANVAS, CANVAS) → (N, 28, 28)

MNIST was made so (LeCun, Cortes and Burges): longest side to 20 pixels, centre of mass to the
middle of 28×28. Ink is that of a frame stretched to the canvas, see `light`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS, Frames, overlap

SIDE = 28
DIGIT = 20  # pixels of the digit's longer side, as in MNIST
CENTRE = 14  # pixel index of the centre of mass, as in MNIST
MARGIN = 0.2  # of the box's longer side, left around it for the closer look
INK = 0.4  # the amount from which on a pixel counts for the box


def box_of(ink: Tensor, frames: Frames) -> Frames:
    """Find the boxes around all ink; the frame itself where there is none."""
    present = torch.stack([ink.amax(2), ink.amax(1)], 1) > INK  # (N, 2, CANVAS)
    places = torch.arange(CANVAS).float()
    first = torch.where(present, places, float(CANVAS)).amin(2)
    last = torch.where(present, places + 1, 0.0).amax(2)
    none = last == 0
    scale = frames.sides() / CANVAS
    start = frames.start + torch.where(none, 0.0, first) * scale
    return Frames(start, frames.start + torch.where(none, float(CANVAS), last) * scale)


def widened(boxes: Frames, limits: Frames) -> Frames:
    """Give boxes room on all sides, as far as their limits go."""
    room = boxes.longer_side() * MARGIN
    start = torch.maximum(boxes.start - room, limits.start)
    return Frames(start, torch.minimum(boxes.end + room, limits.end))


def as_mnist(ink: Tensor, frames: Frames) -> Tensor:
    """Scale what was found to 20 pixels, and shift its mass to the middle: (N, 28, 28), 0–1."""
    box = box_of(ink, frames)
    scale = box.longer_side() / DIGIT  # pixels of the picture a pixel of 28×28
    corner = box.start - scale * (SIDE - DIGIT) / 2
    small = _placed(ink, frames, corner, scale)
    return _blackened(_placed(ink, frames, corner - scale * _off_centre(small), scale))


def as_framed(ink: Tensor, frames: Frames) -> Tensor:
    """Take a frame as it is, in the middle of 28×28: (N, 28, 28), 0–1."""
    scale = frames.longer_side() / SIDE
    corner = (frames.start + frames.end - scale * SIDE) / 2
    return _blackened(_placed(ink, frames, corner, scale))


def _placed(ink: Tensor, frames: Frames, corner: Tensor, scale: Tensor) -> Tensor:
    """Sample the ink on a grid of 28×28.

    Args:
        ink: (N, CANVAS, CANVAS).
        frames: where that lies in the picture.
        corner: the grid's top and left in the picture, (N, 2).
        scale: pixels of the picture between the grid's lines, (N, 1).
    """
    zoom = CANVAS / frames.sides()  # canvas pixels a pixel of the picture, (N, 2)
    step, offset = (scale * zoom).unsqueeze(2), ((corner - frames.start) * zoom).unsqueeze(2)
    grid, sources = torch.arange(SIDE) + 0.5, torch.arange(CANVAS) + 0.5
    weights = overlap(offset + grid * step, sources, step)  # (N, 2, 28, CANVAS)
    return weights[:, 0] @ ink @ weights[:, 1].mT


def _off_centre(small: Tensor) -> Tensor:
    """Give how many whole pixels each (N, 28, 28) must move for its mass to be at index 14."""
    mass = torch.stack([small.sum(2), small.sum(1)], 1)  # (N, 2, 28)
    total = mass.sum(2)
    centre = (mass * torch.arange(SIDE)).sum(2) / total.clamp_min(1e-6)
    return torch.where(total > 0, (CENTRE - centre).round(), 0.0)


def _blackened(seen: Tensor) -> Tensor:
    """Scale ink (N, 28, 28) so that the blackest is 1."""
    return seen / seen.amax((1, 2), keepdim=True).clamp_min(1e-6)


def mended(basic: Tensor) -> Tensor:
    """Mend strokes in ways that help where something is wrong with them.

    Args:
        basic: the four basic readings (4, 28, 28), found and framed; only those whose paper is
            of one brightness are mended.

    Returns:
        (4, 28, 28): gaps and outlines filled, found and framed (a closing); specks taken away
        (median of 3×3); thin lines taken away (an opening).
    """
    x = basic[0::2].unsqueeze(1)  # (2, 1, 28, 28)
    framed = x[1:]
    closed = _shrunk(F.max_pool2d(x, 3, 1, 1))
    opened = F.max_pool2d(_shrunk(framed), 3, 1, 1)
    neighbours = F.conv2d(framed, torch.eye(9).view(9, 1, 3, 3), padding=1)
    median = neighbours.topk(5, 1).values[:, 4:]
    return torch.cat([closed, median, opened]).squeeze(1)


def _shrunk(x: Tensor) -> Tensor:
    """Let the least of each 3×3 win."""
    return -F.max_pool2d(-x, 3, 1, 1)
