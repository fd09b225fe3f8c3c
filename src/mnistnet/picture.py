"""Any picture of a digit → the 28×28 that the network reads, in torch operations alone.

    seen, ink = prepare(picture)      # uint8 (H, W), any size → uint8 (28, 28), bool ()

The steps are those by which MNIST was made (LeCun, Cortes and Burges: longest side to 20 pixels,
centre of mass to the middle), after those that a photograph needs first:

1. look: average the picture down, or smooth it up, to a square of fixed size;
2. flatten: fit a plane to the paper and take it away, so that uneven light does not matter;
3. split: Otsu's threshold tells two classes of pixels apart;
4. decide which class is paper: it lies at the border, and its shape is not a stroke's;
5. find the digit's box, leaving stray marks outside;
6. look again, closer, at the box alone; and last, resize and shift what is found.

Nothing depends on the data but the numbers: no branch, no loop of unknown length. So it exports
to a graph (see `bundle`) that gives the same answer in every runtime.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CANVAS = 96  # side of the square on which a picture is judged
CELL = 4  # side of the cells on which stray marks are told from the digit
MARGIN = 0.2  # of the box's longer side, left around it for the closer look
DIGIT = 20  # pixels of the digit's longer side, as in MNIST
CENTRE = 14  # pixel index of the centre of mass, as in MNIST
SEPARATION = 0.74  # least share of variance between ink and paper; a shadow reaches 0.73
FAINTEST = 0.03  # least contrast of ink; a pencil's is 0.08
ROUGHEST = 0.85  # most roughness of a picture; pure noise has 1


class Box(NamedTuple):
    """A rectangle in a picture: its edges in pixels, as scalars (0-dim tensors)."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor

    def longer_side(self) -> Tensor:
        """Give the longer of height and width, at least a thousandth of a pixel."""
        return torch.maximum(self.bottom - self.top, self.right - self.left).clamp_min(1e-3)


class Split(NamedTuple):
    """Two classes of pixels."""

    bright: Tensor  # float32 (CANVAS, CANVAS): 1 in the brighter class, 0 elsewhere
    dark_level: Tensor  # the classes' means
    bright_level: Tensor
    separation: Tensor  # share of all variance that lies between the classes, 0–1


class Look(NamedTuple):
    """What one look at a part of a picture found."""

    ink: Tensor  # float32 (CANVAS, CANVAS): how much of the digit lies where, 0–1
    box: Box  # of the digit, in pixels of the picture
    separation: Tensor  # how clearly ink and paper differ, 0–1
    contrast: Tensor  # how far they lie apart once uneven light is taken away, 0–1


def prepare(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Find the digit in a picture, and bring it into MNIST's form.

    Args:
        picture: uint8 (H, W), from 1×1 up; ink dark on light, or light on dark.

    Returns:
        What the network shall see, uint8 (28, 28), ink bright on dark; and whether there is any
        ink, bool (). Without ink the picture is black.
    """
    light = picture.float() / 255
    whole = _whole(light)
    first = _look(light, whole)
    closer = _look(light, _widened(first.box, whole))
    seen = _like_mnist(closer.ink)
    there = _is_ink(closer) & (_roughness(light) < ROUGHEST)
    return torch.where(there, seen, torch.zeros_like(seen)), there


def _look(light: Tensor, frame: Box) -> Look:
    """Look at a part of a picture: what is ink there, and which of it is the digit?

    Args:
        light: float32 (H, W), 0 black to 1 white.
        frame: the part.
    """
    rows, v = _sampling(light.shape[0], frame.top, frame.bottom, frame)
    columns, u = _sampling(light.shape[1], frame.left, frame.right, frame)
    canvas = rows @ light @ columns.T  # (CANVAS, CANVAS)
    v, u = v.view(-1, 1), u.view(1, -1)  # place in the frame, -1 to 1
    inside = ((v.abs() <= 1) & (u.abs() <= 1)).float()
    flat = _flatten(canvas, u, v, inside)
    plain, flattened = _split(canvas, inside), _split(flat, inside)
    # Is the light uneven? If a plane explains half of what varies, or flat it splits better.
    half = _variance(flat, inside) < 0.5 * _variance(canvas, inside)
    uneven = half | (flattened.separation > plain.separation)
    split = Split(*(torch.where(uneven, f, p) for f, p in zip(flattened, plain, strict=True)))
    level = torch.where(uneven, flat, canvas)
    ink = _ink(level, canvas - level, split, _paper_is_bright(split.bright, u, v, inside))
    ink = _without_strays(ink * inside)
    contrast = flattened.bright_level - flattened.dark_level
    return Look(ink, _box_of(ink, frame), split.separation, contrast)


def _sampling(length: int, start: Tensor, end: Tensor, frame: Box) -> tuple[Tensor, Tensor]:
    """Build the matrix that samples one axis of a frame onto the canvas, centred.

    A canvas pixel averages the source pixels that it covers; where it is smaller than they are,
    it lies between two of them and takes from both. Both cases are one trapezoid: the overlap of
    two intervals, of which the wider is at least a source pixel wide.

    Returns:
        Weights float32 (CANVAS, length), each row summing to 1; and where each canvas pixel lies
        in the frame, float32 (CANVAS,), from -1 at its start to 1 at its end.
    """
    scale = frame.longer_side() / CANVAS  # source pixels a canvas pixel
    middle = (start + end) / 2
    centres = middle + (torch.arange(CANVAS) + 0.5 - CANVAS / 2) * scale  # in source pixels
    sources = torch.arange(length) + 0.5
    nearest = torch.minimum(centres.clamp_min(0.5), sources[-1])  # beyond the edge: the edge
    weights = _overlap(nearest, sources, scale)
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-6)
    return weights, (centres - middle) / ((end - start) / 2).clamp_min(1e-3)


def _overlap(centres: Tensor, sources: Tensor, scale: Tensor) -> Tensor:
    """Give how much of each source pixel lies under each window: (windows, sources), 0–1."""
    reach = (scale.clamp_min(1) + 1) / 2
    return (reach - (centres.view(-1, 1) - sources.view(1, -1)).abs()).clamp(0, 1)


def _flatten(canvas: Tensor, u: Tensor, v: Tensor, inside: Tensor) -> Tensor:
    """Take away a plane of light, fitted to what lies near it: the paper, not the ink.

    Least squares, then again with what was far off counting less (iteratively reweighted, with
    Cauchy's weights).
    """
    weights = inside
    tilt = torch.zeros_like(canvas)
    for _ in range(4):
        total = weights.sum()
        du, dv = u - (weights * u).sum() / total, v - (weights * v).sum() / total
        off = canvas - (weights * canvas).sum() / total
        uu, vv, uv = (weights * du * du).sum(), (weights * dv * dv).sum(), (weights * du * dv).sum()
        ux, vx = (weights * du * off).sum(), (weights * dv * off).sum()
        determinant = (uu * vv - uv * uv).clamp_min(1e-6)
        tilt = (ux * vv - vx * uv) / determinant * du + (vx * uu - ux * uv) / determinant * dv
        residual = (off - tilt).abs()
        spread = (weights * residual).sum() / total + 1e-4
        weights = inside / (1 + (residual / spread).square())
    return canvas - tilt


def _variance(x: Tensor, inside: Tensor) -> Tensor:
    mean = (x * inside).sum() / inside.sum()
    return ((x - mean).square() * inside).sum() / inside.sum()


def _split(flat: Tensor, inside: Tensor) -> Split:
    """Split pixels in two classes where the variance between them is greatest (Otsu 1979)."""
    low = torch.where(inside > 0, flat, 1e3).min()
    span = (torch.where(inside > 0, flat, -1e3).max() - low).clamp_min(1e-6)
    level = ((flat - low) / span * 255).clamp(0, 255).long().flatten()
    counts = torch.zeros(256).scatter_add(0, level, inside.flatten())
    bins = (torch.arange(256) + 0.5) / 255
    below, mass = counts.cumsum(0), (counts * bins).cumsum(0)
    above = below[-1] - below
    dark, bright = mass / below.clamp_min(1), (mass[-1] - mass) / above.clamp_min(1)
    between = below * above * (dark - bright).square()
    best = between.argmax()
    mean = mass[-1] / below[-1]
    variance = (counts * (bins - mean).square()).sum() * below[-1]
    separation = between[best] / variance.clamp_min(1e-6)
    is_bright = (level.view_as(flat) > best).float() * inside
    return Split(is_bright, low + dark[best] * span, low + bright[best] * span, separation)


def _paper_is_bright(bright: Tensor, u: Tensor, v: Tensor, inside: Tensor) -> Tensor:
    """Judge whether the brighter class is paper: bool ().

    Paper lies at the border, and most of all in the corners, which a digit hardly reaches. Its
    patches are thicker than strokes, so that more of it is left when edges are eaten away. The
    weights were fitted (logistic regression, rounded) to pictures made of MNIST's last 10,000
    training images, thick ink in tight crops among them, where ink is the majority.
    """
    border = _share(bright, inside * (torch.maximum(u.abs(), v.abs()) > 0.9))
    corners = _share(bright, inside * (torch.minimum(u.abs(), v.abs()) > 0.8))
    thickness = _survival(bright, inside) - _survival(inside - bright, inside)
    majority = _share(bright, inside)
    outside = 0.8 * (border - 0.5) + 0.7 * (corners - 0.5)
    return outside + 1.1 * thickness - 1.2 * (majority - 0.5) > 0


def _share(bright: Tensor, where: Tensor) -> Tensor:
    return (bright * where).sum() / where.sum().clamp_min(1)


def _survival(marks: Tensor, inside: Tensor) -> Tensor:
    """Give the share of marks that is left when a tenth of the canvas is eaten off their edges."""
    solid = torch.where(inside > 0, marks, 1.0)
    eaten = -_spread(-solid, CANVAS // 10) * inside
    return eaten.sum() / marks.sum().clamp_min(1)


def _spread(x: Tensor, radius: int) -> Tensor:
    """Let each value spread to its neighbours, the greatest winning: (H, W) → (H, W)."""
    size = 2 * radius + 1
    x = F.max_pool2d(x.view(1, 1, *x.shape), (size, 1), 1, (radius, 0))
    return F.max_pool2d(x, (1, size), 1, (0, radius))[0, 0]


def _ink(level: Tensor, tilt: Tensor, split: Split, paper_is_bright: Tensor) -> Tensor:
    """Turn brightness into an amount of ink: 0 near the paper's level, 1 well beyond the ink's.

    The lowest third is the paper's grain and the strokes' blur. The ink's level is a mean; its
    cores are darker, and where they stay apart from the edges, strokes that touch stay apart too.
    Ink takes a share of the light: on paper that lies in the shade, less is the same.
    """
    contrast = (split.bright_level - split.dark_level).clamp_min(1e-6)
    shade = split.bright_level / (split.bright_level + tilt).clamp_min(0.1)
    dark_ink, bright_ink = (split.bright_level - level) * shade, level - split.dark_level
    depth = torch.where(paper_is_bright, dark_ink, bright_ink)
    return ((depth / contrast - 0.3) / (1.35 - 0.3)).clamp(0, 1)


def _without_strays(ink: Tensor) -> Tensor:
    """Keep what hangs together with the greatest mass of ink.

    Flooding, a step a cell, over cells that hold ink or lie next to one that does: small gaps in
    a stroke are crossed, wide ones are not.
    """
    cells = CANVAS // CELL
    held = F.avg_pool2d(ink.view(1, 1, CANVAS, CANVAS), CELL)  # (1, 1, cells, cells)
    crowd = F.avg_pool2d(held, 7, 1, 3)
    flood = (crowd >= crowd.max()).float()
    ground = F.max_pool2d((held > 0.1).float(), 3, 1, 1)
    for _ in range(2 * cells):
        flood = torch.minimum(F.max_pool2d(flood, 3, 1, 1), ground)
    return ink * F.interpolate(flood, scale_factor=float(CELL))[0, 0]


def _box_of(ink: Tensor, frame: Box) -> Box:
    """Find the edges of what is ink, in pixels of the picture; the frame's if there is none."""
    scale = frame.longer_side() / CANVAS
    top, bottom = _extent((ink > 0.4).any(1))
    left, right = _extent((ink > 0.4).any(0))
    y, x = (frame.top + frame.bottom) / 2, (frame.left + frame.right) / 2
    middle = CANVAS / 2
    return Box(
        y + (top - middle) * scale,
        y + (bottom - middle) * scale,
        x + (left - middle) * scale,
        x + (right - middle) * scale,
    )


def _extent(present: Tensor) -> tuple[Tensor, Tensor]:
    """Give where the first present pixel starts and the last one ends: bool (N,) → scalars."""
    places = torch.arange(CANVAS).float()
    first = torch.where(present, places, float(CANVAS)).min()
    last = torch.where(present, places + 1, 0.0).max()
    some = present.any()
    return torch.where(some, first, 0.0), torch.where(some, last, float(CANVAS))


def _widened(box: Box, whole: Box) -> Box:
    """Give a box room on all sides, as far as the picture goes."""
    room = box.longer_side() * MARGIN
    return Box(
        torch.maximum(box.top - room, whole.top),
        torch.minimum(box.bottom + room, whole.bottom),
        torch.maximum(box.left - room, whole.left),
        torch.minimum(box.right + room, whole.right),
    )


def _like_mnist(ink: Tensor) -> Tensor:
    """Scale the digit's longer side to 20 pixels, shift its mass to the middle, and ink it black.

    Returns:
        uint8 (28, 28), ink bright on dark.
    """
    box = _box_of(ink, _whole(ink))
    margin = torch.full((), (28 - DIGIT) / 2)
    small = _placed(ink, box, margin, margin)
    down, right = _off_centre(small.sum(1)), _off_centre(small.sum(0))
    moved = _placed(ink, box, margin + down, margin + right)
    moved = moved / moved.max().clamp_min(1e-6)
    return (moved * 255).round().clamp(0, 255).to(torch.uint8)


def _placed(ink: Tensor, box: Box, top: Tensor, left: Tensor) -> Tensor:
    """Scale a box of the canvas to 20 pixels, and put its corner somewhere on 28×28."""
    scale = box.longer_side() / DIGIT  # canvas pixels a pixel
    places, sources = torch.arange(28) + 0.5, torch.arange(CANVAS) + 0.5
    rows = _overlap(box.top + (places - top) * scale, sources, scale)
    columns = _overlap(box.left + (places - left) * scale, sources, scale)
    return rows @ ink @ columns.T / scale.clamp_min(1).square()


def _off_centre(mass: Tensor) -> Tensor:
    """Give how many whole pixels mass (28,) must move for its centre to lie at index 14."""
    centre = (mass * torch.arange(28)).sum() / mass.sum().clamp_min(1e-6)
    return torch.where(mass.sum() > 0, (CENTRE - centre).round(), 0.0)


def _is_ink(found: Look) -> Tensor:
    """Say whether what was found is ink: clearly another class of pixels, and not too faint."""
    enough = found.ink.sum() > 0
    return enough & (found.separation > SEPARATION) & (found.contrast > FAINTEST)


def _roughness(light: Tensor) -> Tensor:
    """Compare how neighbouring pixels differ with how any two do: 0 if smooth, 1 if noise."""
    down, across = light[1:] - light[:-1], light[:, 1:] - light[:, :-1]
    pairs = torch.ones_like(down).sum() + torch.ones_like(across).sum()
    steps = (down.square().sum() + across.square().sum()) / pairs.clamp_min(1)
    variance = (light - light.mean()).square().mean()
    return steps / (2 * variance + 1e-6)


def _whole(light: Tensor) -> Box:
    """Give the box of a whole picture (H, W); lengths stay tensors, so that any may be exported."""
    height, width = (torch.arange(side)[-1] + 1.0 for side in light.shape)
    return Box(torch.zeros(()), height, torch.zeros(()), width)
