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
RIM_PENALTY = 1.5  # log odds that a component loses which touches the canvas's rim
LINE_PENALTY = 2.0  # and one that is an underline
ABSENT = -100.0  # score of a slot without a component
HOPS = 3  # from one part of a digit to the next


class Components(NamedTuple):
    """The components of N maps of ink. A component is known by its last cell, its slot."""

    mask: Tensor  # bool (N, CELLS): which cells belong to any
    slot: Tensor  # int64 (N, CELLS): the slot of each cell's component
    mass: Tensor  # float32 (N, CELLS): ink of each slot's component, as a share of the canvas
    start: Tensor  # float32 (N, 2, CELLS): top and left in cells
    end: Tensor  # float32 (N, 2, CELLS): bottom and right

    def take(self, rows: list[int] | Tensor) -> Components:
        """Return the components of some of the maps."""
        return Components(*(part[rows] for part in self))

    def sides(self) -> Tensor:
        """Return heights and widths in cells, at least 1: (N, 2, CELLS)."""
        return (self.end - self.start).clamp_min(1)

    def off_centre(self) -> Tensor:
        """Return squared distances from the canvas's middle, in half sides: (N, CELLS)."""
        return ((self.start + self.end) / GRID - 1).square().sum(1)

    def is_line(self) -> Tensor:
        """Return which components are over five times as wide as high: (N, CELLS), 1 or 0."""
        sides = self.sides()
        return (sides[:, 1] > 5 * sides[:, 0]).float()

    def on_rim(self) -> Tensor:
        """Return which components touch the canvas's rim: (N, CELLS), 1 or 0."""
        return (torch.minimum(self.start, GRID - self.end).amin(1) < 1).float()


class Chosen(NamedTuple):
    """The components that are taken for the digit, of N maps."""

    group: Tensor  # float32 (N, CANVAS, CANVAS): 1 where their ink lies, 0 elsewhere
    size: Tensor  # (N,): longer side of the main component, as a share of the canvas
    on_rim: Tensor  # (N,): 1 where the main component touches the rim
    off_centre: Tensor  # (N,): squared distance of its middle from the canvas's, in half sides
    left_out: Tensor  # (N,): share of the ink that is not in the group
    second: Tensor  # (N,): size and mass of the next component relative to the main one
    several: Tensor  # (N,): 1 where another component may be a digit as the main one is


def label(amount: Tensor) -> Components:
    """Find the connected components of N maps of ink, (N, CANVAS, CANVAS).

    Every cell takes the highest number in its neighbourhood, and then the number that the cell of
    that number has taken: so a number spreads over a component in a logarithm of its length.
    """
    n = len(amount)
    cells = F.avg_pool2d(amount.unsqueeze(1), CELL)
    here = (F.max_pool2d(amount.unsqueeze(1), CELL) > PRESENT).float()
    labels = here * (torch.arange(CELLS) + 1.0).view(GRID, GRID)
    for _ in range(ROUNDS):
        for _ in range(2):
            labels = F.max_pool2d(labels, 3, 1, 1) * here
        flat = labels.flatten(1)
        labels = flat.gather(1, (flat - 1).clamp_min(0).long()).view_as(labels) * here
    present, slot = here.flatten(1), (labels.flatten(1) - 1).clamp_min(0).long()
    rows, columns = (torch.arange(CELLS) // GRID).float(), (torch.arange(CELLS) % GRID).float()
    extents = torch.stack([GRID - rows, GRID - columns, rows + 1, columns + 1])
    values = extents * present.unsqueeze(1)  # (N, 4, CELLS)
    index = slot.unsqueeze(1).expand(n, 4, CELLS)
    reached = (values * 0).scatter_reduce(2, index, values, "amax")
    ink = cells.flatten(1) * present / CELLS
    mass = (ink * 0).scatter_add(1, slot, ink)
    return Components(present > 0, slot, mass, GRID - reached[:, :2], reached[:, 2:])


def choose(found: Components, penalised: Tensor, reach: int) -> Chosen:
    """Choose each map's main component by place, size and shape, and what lies close to it.

    Args:
        found: components of N maps.
        penalised: 1 or 0 (N, 1): whether to disfavour components that touch the rim.
        reach: how many cells a part of the digit may lie from the next.
    """
    size = found.sides().amax(1) / GRID
    on_rim, off_centre = found.on_rim(), found.off_centre()
    main = _main(found, penalised)
    box = _box(found, main)  # (N, 2, 1) each
    # Not ink are what touches the rim, if the main component does not, and what encloses it.
    is_around = _is_within(box, (found.start, found.end)).float()
    excluded = penalised * torch.maximum(on_rim - on_rim.gather(1, main), is_around).clamp_min(0)
    in_group = _close_to(found, box, torch.where(found.mass > 0, 1 - excluded, 0.0), reach)
    in_group = torch.maximum(in_group, (torch.arange(CELLS) == main).float())
    others = found.mass * (1 - in_group) * (1 - excluded) * (1 - found.is_line())
    ratio = others / found.mass.gather(1, main).clamp_min(1e-9)
    main_size = size.gather(1, main)
    return Chosen(
        _on_canvas(in_group.gather(1, found.slot), found.mask),
        main_size.squeeze(1),
        on_rim.gather(1, main).squeeze(1),
        off_centre.gather(1, main).squeeze(1),
        1 - (found.mass * in_group).sum(1) / found.mass.sum(1).clamp_min(1e-9),
        torch.minimum(ratio, size / main_size).amax(1),
        (_is_alike(found, box) & (ratio > 0.3)).float().amax(1),
    )


def _main(found: Components, penalised: Tensor) -> Tensor:
    """Return the slot of each map's main component, (N, 1); see `choose`."""
    size = found.sides().amax(1) / GRID
    score = found.mass.clamp_min(1e-9).log() + size.log() - found.off_centre()
    score = score - RIM_PENALTY * penalised * found.on_rim() - LINE_PENALTY * found.is_line()
    score = torch.where(found.mass > 0, score, ABSENT)
    first = score.argmax(1, keepdim=True)
    rest = torch.where(torch.arange(CELLS) == first, ABSENT, score)
    second = rest.argmax(1, keepdim=True)
    # A box or a circle around the digit has more ink, and contains it.
    is_inside = _is_within(_box(found, second), _box(found, first))
    is_large = size.gather(1, second) > 0.2 * size.gather(1, first)
    is_present = rest.amax(1, keepdim=True) > ABSENT
    return torch.where(is_inside & is_large & is_present & (penalised > 0), second, first)


def _close_to(found: Components, box: tuple[Tensor, Tensor], allowed: Tensor, reach: int) -> Tensor:
    """Return which allowed components lie near a box, or near such a one: (N, CELLS), 1 or 0."""
    start, end = box
    close = torch.zeros_like(allowed)
    for _ in range(HOPS):
        gap = torch.maximum(found.start - end, start - found.end).amax(1)  # (N, CELLS)
        close = torch.where(gap < reach + 1, allowed, 0.0)
        is_close = close.unsqueeze(1) > 0
        start = torch.where(is_close, found.start, float(GRID)).amin(2, keepdim=True)
        end = torch.where(is_close, found.end, 0.0).amax(2, keepdim=True)
    return close


def _is_alike(found: Components, box: tuple[Tensor, Tensor]) -> Tensor:
    """Return which components are about as high as a box, and lie next to it: bool (N, CELLS)."""
    sides, main = found.sides(), box[1] - box[0]
    height, width = sides[:, 0], sides[:, 1]
    ratio = height / main[:, 0]
    gap = torch.maximum(found.start - box[1], box[0] - found.end)[:, 1]  # between left and right
    is_beside = gap > -0.2 * torch.minimum(width, main[:, 1])
    return (ratio > 0.6) & (ratio < 1 / 0.6) & (width < 1.3 * height) & is_beside


def largest(found: Components) -> tuple[Tensor, Tensor, Tensor]:
    """Return the box of each map's largest component.

    Returns:
        Its top and left (N, 2), bottom and right (N, 2), as shares of the canvas; and which share
        of it holds ink (N, 1).
    """
    best = found.mass.argmax(1, keepdim=True)
    start, end = (edges.squeeze(2) / GRID for edges in _box(found, best))
    sides = (end - start).clamp_min(1 / GRID)
    return start, end, found.mass.gather(1, best) / (sides[:, :1] * sides[:, 1:])


def _box(found: Components, slot: Tensor) -> tuple[Tensor, Tensor]:
    index = slot.unsqueeze(1).expand(-1, 2, -1)
    return found.start.gather(2, index), found.end.gather(2, index)


def _is_within(inner: tuple[Tensor, Tensor], outer: tuple[Tensor, Tensor]) -> Tensor:
    """Return whether boxes lie inside others on all sides: (N, …)."""
    return torch.minimum(inner[0] - outer[0], outer[1] - inner[1]).amin(1) > 0


def _on_canvas(region: Tensor, mask: Tensor) -> Tensor:
    """Widen a region by a cell, for its soft edges, but not into other components."""
    cells = (region * mask.float()).view(-1, 1, GRID, GRID)
    other = mask.float().view_as(cells) - cells
    return F.interpolate(F.max_pool2d(cells, 3, 1, 1) * (1 - other), scale_factor=2.0).squeeze(1)
