"""Connected components of ink, and the choice of those that are the digit.

    found = label(amount)                       # (N, CANVAS, CANVAS) → components of each
    chosen = choose(found, penalised, reach)    # which of them are the digit

On a grid of cells, two pixels a side: a gap of one empty cell separates.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistnet.picture.canvas import CANVAS

CELL = 2  # pixels of the canvas
GRID = CANVAS // CELL
CELLS = GRID * GRID
PRESENT = 0.35  # amount of ink from which on a cell belongs to a component
ROUNDS = 6  # of labelling; each more than doubles how far a label has spread
SLOTS = 24  # components of a map that are distinguished, those with the most ink
RIM_PENALTY = 1.5  # log odds that a component loses which touches the canvas's rim
LINE_PENALTY = 2.0  # and one that is an underline
ABSENT = -100.0  # score of a slot without a component
HOPS = 3  # from one part of a digit to the next
LEAST_MASS = 0.12  # of a second digit, relative to the first: it may be by a thinner pen


class Components(NamedTuple):
    """The components of N maps of ink, those with the most ink first."""

    cells: Tensor  # float32 (N, SLOTS, CELLS): 1 where a component is, 0 elsewhere
    present: Tensor  # float32 (N, 1, CELLS): 1 where any is
    total: Tensor  # (N,): ink of all, as a share of the canvas
    features: Tensor  # (N, SLOTS, 9): the box, its sides given as by `_box`, and those below

    def take(self, rows: Tensor) -> Components:
        """Return the components of some of the maps."""
        return Components(*(part[rows] for part in self))


BOX = slice(0, 4)  # of the features: top, left, and negative, bottom and right, in cells
MASS, SIZE, ON_RIM, OFF_CENTRE, IS_LINE = 4, 5, 6, 7, 8


class Chosen(NamedTuple):
    """The components that are taken for the digit, of N maps."""

    group: Tensor  # float32 (N, CANVAS, CANVAS): 1 where their ink lies, 0 elsewhere
    facts: Tensor  # (N, 6), of the main component and of the others, see `choose`


def label(amount: Tensor) -> Components:
    """Find the connected components of N maps of ink, (N, CANVAS, CANVAS).

    Every cell takes the highest number in its neighbourhood, and then the number that the cell of
    that number has taken: so a number spreads over a component in a logarithm of its length.
    """
    maps = amount.unsqueeze(1)
    here = (F.max_pool2d(maps, CELL) > PRESENT).float()  # (N, 1, GRID, GRID)
    numbers = torch.arange(CELLS).float()  # the last cell's becomes its component's
    labels = here * numbers.view(GRID, GRID)
    for _ in range(ROUNDS):
        for _ in range(2):
            labels = F.max_pool2d(labels, 3, 1, 1) * here
        flat = labels.flatten(1)
        labels = flat.gather(1, flat.long()).view_as(labels) * here
    ink = (F.avg_pool2d(maps, CELL) * here).flatten(1) / CELLS
    flat = labels.flatten(1)
    mass, slots = (ink * 0).scatter_add(1, flat.long(), ink).topk(SLOTS)
    present = here.flatten(2)
    cells = (flat.unsqueeze(1) == slots.unsqueeze(2)).float() * present
    square = cells.view(-1, SLOTS, GRID, GRID)
    spans = torch.stack([square.amax(3), square.amax(2)], 1)  # (N, 2, SLOTS, GRID)
    steps = torch.arange(GRID).float()
    # Bottom and right are negative, so that the least of several boxes is what encloses them.
    starts = GRID - ((GRID - steps) * spans).amax(3)
    box = torch.cat([starts, -((steps + 1) * spans).amax(3)], 1)  # (N, 4, SLOTS)
    sides = (-box[:, :2] - box[:, 2:]).clamp_min(1)
    offset = (box[:, :2] - box[:, 2:]) / GRID - 1
    features = [
        mass,
        sides.amax(1) / GRID,
        (torch.minimum(box[:, :2], GRID + box[:, 2:]).amin(1) < 1).float(),
        (offset * offset).sum(1),
        (sides[:, 1] > 5 * sides[:, 0]).float(),
    ]
    return Components(cells, present, ink.sum(1), torch.cat([box, torch.stack(features, 1)], 1).mT)


def choose(found: Components, penalised: Tensor, reach: int) -> Chosen:
    """Choose each map's main component by place, size and shape, and what lies close to it.

    Args:
        found: components of N maps.
        penalised: 1 or 0 (N, 1): whether to disfavour components that touch the rim.
        reach: how many cells a part of the digit may lie from the next.

    Returns:
        The choice. Its facts are size, whether it touches the rim, and distance from the centre, of
        the main component; the share of ink that is left out; size and mass of the next component
        relative to the main one, the less of them; and 1 where another may be a digit as well.
    """
    features, box = found.features, found.features[..., BOX]
    mass, size, on_rim = features[..., MASS], features[..., SIZE], features[..., ON_RIM]
    is_main, main = _main(features, penalised)  # (N, 1, SLOTS), (N, 1, 9)
    # Not ink are what touches the rim, if the main component does not, and what encloses it.
    is_around = ((main[..., BOX] - box).amin(2) > 0).float()
    excluded = penalised * torch.maximum(on_rim - main[..., ON_RIM], is_around).clamp_min(0)
    allowed = (mass > 0).float() * (1 - excluded)
    near = (_gaps(box) < reach + 1).float() * allowed.unsqueeze(1)
    group = is_main
    for _ in range(HOPS):
        group = (group @ near).clamp_max(1)
    outside = mass * (1 - group.squeeze(1))
    ratio = (
        outside * (1 - excluded) * (1 - features[..., IS_LINE]) / main[..., MASS].clamp_min(1e-9)
    )
    left_out = 1 - (mass - outside).sum(1) / found.total.clamp_min(1e-9)
    second = torch.minimum(ratio, size / main[..., SIZE].clamp_min(1e-9)).amax(1)
    several = (_is_alike(box, main[..., BOX]) * ratio * (1 - on_rim)).amax(1) > LEAST_MASS
    facts = torch.stack([left_out, second, several.float()], 1)
    facts = torch.cat([main[:, 0, SIZE : OFF_CENTRE + 1], facts], 1)
    return Chosen(_on_canvas(group @ found.cells, found.present), facts)


def _main(features: Tensor, penalised: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each map's main component is, (N, 1, SLOTS), and its features; see `choose`."""
    mass = features[..., MASS]
    penalties = torch.tensor([1.0, LINE_PENALTY])
    score = (mass * features[..., SIZE]).clamp_min(1e-12).log()
    score = score - features[..., OFF_CENTRE:] @ penalties
    score = score - RIM_PENALTY * penalised * features[..., ON_RIM]
    slots = torch.where(mass > 0, score, ABSENT).topk(2).indices
    best = (torch.arange(SLOTS) == slots.unsqueeze(2)).float()  # (N, 2, SLOTS)
    pair = best @ features
    first, second = pair[:, :1], pair[:, 1:]  # (N, 1, 9)
    # A box or a circle around the digit has more ink, and contains it.
    is_inside = (second[..., BOX] - first[..., BOX]).amin(2) > 0
    is_large = second[..., SIZE] > 0.2 * first[..., SIZE]
    inner = is_inside & is_large & (second[..., MASS] * penalised > 0)
    inner = inner.unsqueeze(2)
    return torch.where(inner, best[:, 1:], best[:, :1]), torch.where(inner, second, first)


def _gaps(box: Tensor) -> Tensor:
    """Return how many cells lie between each two boxes, (N, SLOTS, 4) → (N, SLOTS, SLOTS)."""
    after = box[..., :2].unsqueeze(1) + box[..., 2:].unsqueeze(2)  # (N, SLOTS, SLOTS, 2)
    return torch.maximum(after, after.transpose(1, 2)).amax(3)


def _is_alike(box: Tensor, main: Tensor) -> Tensor:
    """Return which components are about as high as the main one, and next to it.

    Args:
        box: (N, SLOTS, 4).
        main: (N, 1, 4).

    Returns:
        (N, SLOTS), 1 or 0.
    """
    sides, main_sides = -box[..., 2:] - box[..., :2], -main[..., 2:] - main[..., :2]
    height, width = sides[..., 0], sides[..., 1]
    ratio = height.clamp_min(0.1) / main_sides[..., 0].clamp_min(1)
    gap = torch.maximum(box[..., 1] + main[..., 3], main[..., 1] + box[..., 3])
    is_beside = gap > -0.2 * torch.minimum(width, main_sides[..., 1])  # left or right of it
    return (torch.minimum(ratio, 1 / ratio) > 0.5).float() * (width < 1.3 * height) * is_beside


def largest(found: Components) -> tuple[Tensor, Tensor, Tensor]:
    """Return the box of each map's largest component.

    Returns:
        Its top and left (N, 2), bottom and right (N, 2), as shares of the canvas; and which share
        of it holds ink (N, 1).
    """
    first = found.features[:, 0]  # (N, 9)
    start, end = first[:, :2] / GRID, -first[:, 2:4] / GRID
    sides = (end - start).clamp_min(1 / GRID)
    return start, end, first[:, MASS : MASS + 1] / (sides[:, :1] * sides[:, 1:])


def _on_canvas(region: Tensor, present: Tensor) -> Tensor:
    """Widen a region by a cell, for its soft edges, but not into other components."""
    wide = F.max_pool2d(region.view(-1, 1, GRID, GRID), 3, 1, 1)
    cells = wide * (1 - present + region).view_as(wide)
    return F.interpolate(cells, scale_factor=2.0).squeeze(1)
