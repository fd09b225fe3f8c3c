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
from mnistnet.picture.components import Chosen, choose, label, largest
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
    separation: Tensor  # (N,), see `Ink`
    contrast: Tensor  # (N,)
    paper_score: Tensor  # (N,): how much the other class is like paper; 0 where it is given
    chosen: Chosen


def hypotheses(brightness: Tensor) -> Hypotheses:
    """Return all hypotheses on what a picture shows.

    Args:
        brightness: float32 (H, W), at least 3×3, 0 dark to 1 bright.
    """
    whole, sheets, fill = _look_at_all(brightness)
    closer = _look_closer(brightness, whole, sheets)
    aligned = align(closer.amount * closer.chosen.group, closer.frames)  # (11, 28, 28)
    framed = keep_framing(whole.amount[:2], full_frame(brightness))
    seen = torch.cat([aligned, framed[1:], repair(aligned[:1], framed[:1])])  # (15, 28, 28)
    # The digit's place was chosen in the whole picture, or on the sheet.
    rows = list(SOURCES)
    pairs = zip(whole.chosen, closer.chosen, strict=True)
    chosen = Chosen(*(torch.cat([first, second[PLACED:]])[rows] for first, second in pairs))
    evidence = _evidence(seen, whole, closer, chosen, fill)
    # Light that changes slowly has contrast with neither the border's paper nor the paper near it.
    has_contrast = (whole.contrast / torch.tensor(MIN_CONTRASTS)).amax(0) > 1
    is_separated = evidence[:, 0] > MIN_SEPARATION
    ink = is_separated & has_contrast & (roughness(brightness) < MAX_ROUGHNESS)
    both = whole.chosen.several[0] * whole.chosen.several[1]  # under both assumptions on the paper
    several = torch.maximum(chosen.several, closer.chosen.several[rows]) + both > 0
    levels = (seen * 255 * ink.view(-1, 1, 1)).round().to(torch.uint8)
    return Hypotheses(levels, evidence, ink, ink & several)


def _look_at_all(brightness: Tensor) -> tuple[Look, Frames, Tensor]:
    """Look at the whole picture.

    Returns:
        What was found for the first seven hypotheses; the largest bright and the largest dark
        region (2); and which share of these is of that class, (2, 1).
    """
    frame = full_frame(brightness)
    canvas = crop_to_canvas(brightness, frame)
    darkest, brightest = extremes(brightness, frame)
    near = (local_contrast(levels, NEARBY[0]) for levels in (darkest, 1 - brightest))
    ink = find_ink(torch.cat([canvas, border_contrast(canvas), *near]))
    amount = torch.cat([ink.dark[:1], ink.bright])  # dark, bright, the border's, locally dark, …
    components = label(amount)
    clearer = torch.where(ink.paper_score[:1] > 0, 0, 1)
    row = torch.cat([clearer, torch.tensor([2, 0, 1, 2, 3, 4])])
    chosen = choose(components.take(row), torch.tensor(PENALISED).unsqueeze(1), REACH[0])
    score, of = ink.paper_score[:1], torch.tensor([0, 1, 0, 0, 1, 2, 3])
    signs = torch.tensor([0.0, 0.0, 1.0, -1.0, 0.0, 1.0, -1.0])
    signed = torch.cat([score.abs(), (signs * score)[1:]])
    frames = Frames(frame.start.expand(PLACED, 2), frame.end.expand(PLACED, 2))
    look = Look(frames, amount[row], ink.separation[of], ink.contrast[of], signed, chosen)
    start, end, fill = largest(components.take([1, 0]))
    cut = SHEET_EDGE * (end - start)
    return look, Frames((start + cut) * frame.sides(), (end - cut) * frame.sides()), fill


def _look_closer(brightness: Tensor, whole: Look, sheets: Frames) -> Look:
    """Look at what was found in the whole picture with a margin, and into its sheets (11)."""
    near = widen(bounding_boxes(whole.amount * whole.chosen.group, whole.frames), whole.frames)
    frames = Frames(torch.cat([near.start, sheets.start]), torch.cat([near.end, sheets.end]))
    x = crop_closer(brightness, frames)  # (9, CANVAS, CANVAS)
    levels = [x[:1], border_contrast(x[1:2]), x[2:4], border_contrast(x[4:5])]
    levels += [local_contrast(x[5:6], NEARBY[1]), local_contrast(1 - x[6:7], NEARBY[1]), x[7:]]
    ink = find_ink(torch.cat(levels))
    of = [*range(PLACED), *SHEETS]
    amount = torch.cat([_clearer(ink), ink.bright[1:2], ink.dark[2:3], ink.bright[3:PLACED]])
    on_sheets = torch.stack([ink.dark[PLACED:], ink.bright[PLACED:]], 1).flatten(0, 1)
    amount = torch.cat([amount, on_sheets])
    penalised = torch.tensor(PENALISED + (1.0,) * len(SHEETS)).unsqueeze(1)
    chosen = choose(label(amount), penalised, REACH[1])
    signs = torch.tensor([0.0] * PLACED + [1.0, -1.0, 1.0, -1.0])
    score = torch.cat([ink.paper_score[:1].abs(), (signs * ink.paper_score[of])[1:]])
    frames = Frames(frames.start[of], frames.end[of])
    return Look(frames, amount, ink.separation[of], ink.contrast[of], score, chosen)


def _clearer(ink: Ink) -> Tensor:
    """Return the ink of the first map's more probable polarity: (1, CANVAS, CANVAS)."""
    return torch.where((ink.paper_score[:1] > 0).view(1, 1, 1), ink.dark[:1], ink.bright[:1])


def _evidence(seen: Tensor, whole: Look, closer: Look, chosen: Chosen, fill: Tensor) -> Tensor:
    """Return what speaks for and against each hypothesis, float32 (15, 11).

    How clearly ink and paper are separated, by variance and by the logarithm of contrast; how much
    paper is like paper; of the digit whether it touches the border, is off the centre, is small;
    the share of ink that is left out, and how large a component that is no part of it; how far the
    image has more ink, or another size, than MNIST's; how full the sheet is.
    """
    rows = list(SOURCES)
    is_framed = torch.tensor(IS_FRAMED) > 0
    in_whole = [row if row < PLACED else 0 for row in rows]
    separation = torch.where(is_framed, whole.separation[in_whole], closer.separation[rows])
    contrast = torch.where(is_framed, whole.contrast[in_whole], closer.contrast[rows])
    is_closer = [row in (0, *range(PLACED, 11)) for row in rows]
    is_own = torch.tensor(is_closer) > is_framed
    polarity = torch.where(is_own, closer.paper_score[rows], whole.paper_score[in_whole])
    excess = (seen.mean((1, 2)) / USUAL_MASS).clamp_min(1).log()
    extent = torch.stack([(seen.amax(axis) > 0.4).sum(1) for axis in (1, 2)]).amax(0)
    misfit = (extent.clamp_min(1) / USUAL_SIDE).log()
    share = (closer.frames.longer_side()[:, 0] / whole.frames.longer_side()[0])[rows]
    side = closer.chosen.size[rows] * share
    sheet_fill = torch.cat([torch.zeros(PLACED), fill[[0, 0, 1, 1], 0]])[rows]
    return torch.stack(
        [
            separation,
            contrast.clamp_min(1e-3).log(),
            polarity.clamp(-0.6, 0.6),
            chosen.on_rim,
            chosen.off_centre,
            (side.clamp_min(1e-3) / LARGE).log().clamp_max(0),
            chosen.left_out,
            chosen.second,
            excess.square(),
            misfit.square(),
            sheet_fill,
        ],
        dim=1,
    )
