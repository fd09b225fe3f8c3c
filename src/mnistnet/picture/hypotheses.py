"""Hypotheses on what a picture shows: where its paper and its digit are, and which is ink.

    found = hypotheses(brightness)          # float32 (H, W) → `Hypotheses`

The picture is looked at as a whole, under five assumptions on its ink; then closer at what was
found: at what may be the digit, with a margin, and into what may be a sheet, a card or a window
on which the digit is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mnistnet.picture.alignment import align, bounding_boxes, keep_framing, repair, widen
from mnistnet.picture.canvas import Frames, crop_closer, crop_to_canvas, extremes, full_frame
from mnistnet.picture.components import choose, label, largest
from mnistnet.picture.ink import Ink, find_ink
from mnistnet.picture.paper import border_contrast, local_contrast, roughness

# The hypotheses. In the whole picture the digit is 0 of the clearer polarity, with all that touches
# the border, 1 unlike the border, likewise, 2 dark, 3 bright, 4 unlike the border, 5 darker and
# 6 brighter than near it; 7 dark and 8 bright on the largest bright region, 9 and 10 on the largest
# dark one; 11 is 1 framed as it is; of 0, 12 is closed, 13 and 14 are framed, median and opened.
PLACED = 7  # those that differ in what they take for the digit in the whole picture
PENALISED = (0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0)  # whether what touches the border is disfavoured
SHEETS = (7, 7, 8, 8)  # of the closer looks, the one that each hypothesis on a sheet is about
# The hypothesis whose ink each is made of, and whether the picture's framing is kept.
SOURCES = (*range(11), 1, 0, 0, 0)
IS_FRAMED = (*[0.0] * 11, 1.0, 0.0, 1.0, 1.0)
REACH = 2, 3  # cells from one part of a digit to the next, in the whole picture and closer
NEARBY = 3, 5  # pixels of the canvas from ink to the paper near it, there
SHEET_EDGE = 0.015  # of a sheet's side, which is cut off
USUAL_MASS = 0.13  # mean ink of MNIST's pixels
USUAL_SIDE = 20  # pixels of the longer side of MNIST's digits
MIN_SEPARATION = 0.75  # share of variance between ink and paper; a gradient of light reaches 0.75
# Of ink in the whole picture, for hypotheses in which a gradient has less; a pencil has 0.03.
MIN_CONTRASTS = (9.0, 0.025, 9.0, 9.0, 0.025, 0.3, 0.3)
MAX_ROUGHNESS = 0.9  # of a picture; outlines reach 0.89, pure noise has 1
LARGE = 0.37  # of the picture's longer side; a digit that is at least as large is usual


class Hypotheses(NamedTuple):
    """N hypotheses on what a picture shows; the network's confidence chooses one."""

    seen: Tensor  # uint8 (N, 28, 28), ink bright on dark
    evidence: Tensor  # float32 (N, 11), see `_evidence`
    ink: Tensor  # bool (N,): whether there is any; the image is black if not
    several: Tensor  # bool (N,): whether there is more than one digit


class Look(NamedTuple):
    """What was found on N canvases that are parts of the picture."""

    frames: Frames  # where they lie
    amount: Tensor  # (N, CANVAS, CANVAS): how much ink lies where, 0–1
    group: Tensor  # (N, CANVAS, CANVAS): 1 where it is the digit's
    # (N, 9): separation, contrast, how much the other class is like paper, and those of `Chosen`
    facts: Tensor


def hypotheses(brightness: Tensor) -> Hypotheses:
    """Return all hypotheses on what a picture shows.

    Args:
        brightness: float32 (H, W), at least 3×3, 0 dark to 1 bright.
    """
    frame = full_frame(brightness)
    whole, sheets, fill = _look_at_all(brightness, frame)
    closer = _look_closer(brightness, whole, sheets)
    aligned = align(closer.amount * closer.group, closer.frames)  # (11, 28, 28)
    framed = keep_framing(whole.amount[:2], frame)
    seen = torch.cat([aligned, framed[1:], repair(aligned[:1], framed[:1])])  # (15, 28, 28)
    facts = torch.cat([whole.facts, closer.facts]).flatten()[torch.tensor(_fact_indices())]
    share = closer.frames.longer_side()[list(SOURCES), 0] / frame.longer_side()[0]
    # Light that changes slowly has contrast with neither the border's paper nor the paper near it.
    has_contrast = (whole.facts[:, 1] / torch.tensor(MIN_CONTRASTS)).amax(0) > 1
    ink = (facts[:, 0] > MIN_SEPARATION) & (
        has_contrast & (roughness(brightness, frame) < MAX_ROUGHNESS)
    )
    both = whole.facts[0, 8] * whole.facts[1, 8]  # under both assumptions on the paper
    several = facts[:, 8:].amax(1) + both > 0
    levels = (seen * (255 * ink.float()).view(-1, 1, 1)).round().to(torch.uint8)
    return Hypotheses(levels, _evidence(seen, facts, share, fill), ink, ink & several)


def _fact_indices() -> list[list[int]]:
    """Return which of the facts of 18 looks, the whole picture's first, each hypothesis takes."""
    indices = []
    for source, is_framed in zip(SOURCES, IS_FRAMED, strict=True):
        closer = PLACED + source
        own = source if is_framed else closer
        placed = min(source, PLACED) if source < PLACED else closer  # in the whole picture
        polarity = closer if not is_framed and source in (0, *range(PLACED, 11)) else placed
        looks = [own, own, polarity, closer, placed, placed, placed, placed, placed, closer]
        facts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]
        indices.append([9 * look + fact for look, fact in zip(looks, facts, strict=True)])
    return indices


def _look_at_all(brightness: Tensor, frame: Frames) -> tuple[Look, Frames, Tensor]:
    """Look at the whole picture.

    Returns:
        What was found for the first seven hypotheses; the largest bright and the largest dark
        region (2); and which share of these is of that class, (2, 1).
    """
    canvas = crop_to_canvas(brightness, frame)
    darkest, brightest = extremes(brightness, canvas, frame)
    near = local_contrast(torch.cat([darkest, 1 - brightest]), NEARBY[0])
    ink = find_ink(torch.cat([canvas, border_contrast(canvas), near]))
    amount = torch.cat([ink.dark[:1], ink.bright])  # dark, bright, the border's, locally dark, …
    components = label(amount)
    clearer = 1 - (ink.paper_score[:1] > 0).long()
    row = torch.cat([clearer, torch.tensor([2, 0, 1, 2, 3, 4])])
    chosen = choose(components.take(row), torch.tensor(PENALISED).unsqueeze(1), REACH[0])
    of, signs = [0, 1, 0, 0, 1, 2, 3], torch.tensor([0.0, 0.0, 1.0, -1.0, 0.0, 1.0, -1.0])
    score = signs * ink.paper_score[of] + torch.eye(PLACED)[0] * ink.paper_score[0].abs()
    facts = torch.cat([_facts(ink, of, score), chosen.facts], 1)
    frames = Frames(frame.start.expand(PLACED, 2), frame.end.expand(PLACED, 2))
    start, end, fill = largest(components.take(torch.tensor([1, 0])))
    cut = SHEET_EDGE * (end - start)
    sheets = Frames((start + cut) * frame.sides(), (end - cut) * frame.sides())
    return Look(frames, amount[row], chosen.group, facts), sheets, fill


def _look_closer(brightness: Tensor, whole: Look, sheets: Frames) -> Look:
    """Look at what was found in the whole picture with a margin, and into its sheets (11)."""
    near = widen(bounding_boxes(whole.amount * whole.group, whole.frames), whole.frames)
    frames = Frames(torch.cat([near.start, sheets.start]), torch.cat([near.end, sheets.end]))
    x = crop_closer(brightness, frames)  # (9, CANVAS, CANVAS)
    border = border_contrast(x[[1, 4]])
    local = local_contrast(torch.cat([x[5:6], 1 - x[6:7]]), NEARBY[1])
    ink = find_ink(torch.cat([x[:1], border[:1], x[2:4], border[1:], local, x[7:]]))
    of = [*range(PLACED), *SHEETS]
    # The clearer's ink; and, dark ink first, unlike the border's, dark, …, on either sheet both.
    others = [10, 2, 12, 13, 14, 15, 7, 16, 8, 17]
    is_dark = ink.paper_score[0] > 0
    row = torch.where(is_dark, torch.tensor([0, *others]), torch.tensor([9, *others]))
    amount = torch.cat([ink.dark, ink.bright])[row]
    penalised = torch.tensor(PENALISED + (1.0,) * len(SHEETS)).unsqueeze(1)
    chosen = choose(label(amount), penalised, REACH[1])
    signs = torch.tensor([0.0] * PLACED + [1.0, -1.0, 1.0, -1.0])
    score = signs * ink.paper_score[of] + torch.eye(len(of))[0] * ink.paper_score[0].abs()
    facts = torch.cat([_facts(ink, of, score), chosen.facts], 1)
    return Look(Frames(frames.start[of], frames.end[of]), amount, chosen.group, facts)


def _facts(ink: Ink, of: list[int], score: Tensor) -> Tensor:
    """Return the facts on ink and paper of some maps: (N, 3), see `Look`."""
    return torch.stack([ink.separation[of], ink.contrast[of], score], 1)


def _evidence(seen: Tensor, facts: Tensor, share: Tensor, fill: Tensor) -> Tensor:
    """Return what speaks for and against each hypothesis, float32 (15, 11).

    How clearly ink and paper are separated, by variance and by the logarithm of contrast; how much
    paper is like paper; of the digit whether it touches the border, is off the centre, the share
    of ink that is left out, and how large a component that is no part of it, is small; how far the
    image has more ink, or another size, than MNIST's; how full the sheet is.
    """
    separation, contrast, polarity, size = (facts[:, i] for i in range(4))
    excess = (seen.mean((1, 2)) / USUAL_MASS).clamp_min(1).log()
    extent = torch.maximum(*((seen.amax(axis) > 0.4).float().sum(1) for axis in (1, 2)))
    misfit = (extent.clamp_min(1) / USUAL_SIDE).log()
    smallness = (size * share / LARGE).clamp(1e-3, 1.0).log()
    sheet_fill = torch.cat([torch.zeros(PLACED), fill[[0, 0, 1, 1], 0], torch.zeros(4)])
    ink = torch.stack([separation, contrast.clamp_min(1e-3).log(), polarity.clamp(-0.6, 0.6)], 1)
    image = torch.stack([smallness, excess * excess, misfit * misfit, sheet_fill], 1)
    return torch.cat([ink, facts[:, 4:8], image], 1)
