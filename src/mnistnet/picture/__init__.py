"""Any picture of a digit → the 28×28 image that the network reads, in torch operations alone.

    prepared = prepare(picture, network)     # uint8 (H, W, 4), any size → .seen uint8 (28, 28)

`colour` makes brightness of colour and transparency. No single rule finds the digit in every
picture. So there are eight hypotheses on what a picture shows, each right for some kind of picture,
and the one that the network is most confident of is kept, given how probable each is from the
start. They differ in what they assume:

- What is paper? `canvas`: one brightness all over, or what the border continues inwards.
- What is ink? `ink`: Otsu's threshold splits two classes, and paper is not shaped like strokes.
- Where is the digit? `alignment`: in the box of the largest connected component, cropped and
  analysed once more; or the picture is framed like MNIST's, and nothing has to be moved.
- Are the strokes damaged? `alignment`: morphology removes specks, gaps or thin lines.

No operation depends on the data but through numbers: no branch, no loop of unknown length. So it
exports to a graph (see `bundle`) that computes the same in every runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mnistnet.picture.alignment import (
    align,
    are_alike,
    bounding_boxes,
    keep_framing,
    morphology,
    widen,
)
from mnistnet.picture.canvas import contrast_with_paper, crop_to_canvas, full_frame, roughness
from mnistnet.picture.colour import to_brightness
from mnistnet.picture.ink import find_ink, remove_specks

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_CONTRAST = 0.03  # of ink; a pencil's is 0.08
MIN_SEPARATION = 0.74  # share of variance between ink and paper; a shadow reaches 0.73
MAX_ROUGHNESS = 0.9  # of a picture; outlines reach 0.89, pure noise has 1

# The basic hypothesis (aligned or as framed, on paper of one brightness or the border's) that each
# hypothesis is derived from, and the log odds that each starts with.
SOURCES = (0, 1, 2, 3, 0, 2, 2, 2)
LOG_PRIORS = (0.0, 1.1, -1.0, 0.5, -0.4, -1.3, -1.9, -1.7)
# Log odds per unit of evidence: how clearly ink and paper are separated, how certain it is which is
# which, and how far there is more ink than in a digit. These and the log priors are the maximum
# likelihood estimate on pictures that are no corruption of the evaluation's, and that no network
# was trained on: `benchmarks/hypotheses.py` fits them.
EVIDENCE_WEIGHTS = (4.3, 4.4, -2.1)
USUAL_MASS = 0.13  # mean ink of MNIST's pixels
# Confidence above this is no more evidence: the network is very confident of much that is no digit.
CONFIDENCE_CAP = 0.9


class Hypotheses(NamedTuple):
    """N hypotheses on what a picture shows; the network's confidence chooses one."""

    seen: Tensor  # uint8 (N, 28, 28), ink bright on dark
    evidence: Tensor  # float32 (N, 3): separation, polarity confidence, squared log excess of ink
    ink: Tensor  # bool (): whether there is any
    several: Tensor  # bool (): whether there is more than one digit

    @property
    def log_prior(self) -> Tensor:
        """Log odds of each hypothesis before the network evaluates it, float32 (N,)."""
        return self.evidence @ torch.tensor(EVIDENCE_WEIGHTS) + torch.tensor(LOG_PRIORS)


class Prepared(NamedTuple):
    """A picture in MNIST's form."""

    seen: Tensor  # uint8 (28, 28), ink bright on dark; black where there is no ink
    ink: Tensor  # bool (): whether there is any
    several: Tensor  # bool (): whether there is more than one digit; `seen` is then one of them
    hypothesis: Tensor  # int64 (): the index of the one that was kept


def prepare(picture: Tensor, network: Callable[[Tensor], Tensor]) -> Prepared:
    """Find the digit in a picture, and bring it into MNIST's form.

    Args:
        picture: uint8 (H, W, 4), at least 3×3: red, green, blue, opacity; ink may be dark or light.
        network: uint8 (N, 28, 28) to probabilities (N, 10).
    """
    found = hypotheses(picture)
    confidence = network(found.seen).amax(1).clamp(1e-6, CONFIDENCE_CAP)
    best = (found.log_prior + confidence.logit()).argmax()
    return Prepared(found.seen[best], found.ink, found.several, best)


def hypotheses(picture: Tensor) -> Hypotheses:
    """Return all hypotheses on what a picture, uint8 (H, W, 4), shows."""
    brightness = to_brightness(picture)
    frame = full_frame(brightness)
    first = find_ink(contrast_with_paper(crop_to_canvas(brightness, frame)))
    largest = remove_specks(first.amount)
    boxes = bounding_boxes(largest, frame)
    near = widen(boxes, frame)
    closer = find_ink(contrast_with_paper(crop_to_canvas(brightness, near)))
    aligned = align(remove_specks(closer.amount), near)
    basic = torch.cat([aligned, keep_framing(first.amount, frame)])  # (4, 28, 28)
    seen = torch.cat([basic, morphology(basic)])  # (8, 28, 28)

    separation = torch.cat([closer.separation, first.separation])
    polarity = torch.cat([closer.polarity_confidence, first.polarity_confidence])
    excess = (seen.mean((1, 2)) / USUAL_MASS).clamp_min(1).log()
    source = list(SOURCES)
    evidence = torch.stack([separation[source], polarity[source], excess.square()], dim=1)

    is_separated = torch.maximum(first.separation, closer.separation).amax(0) > MIN_SEPARATION
    has_contrast = first.contrast[1] > MIN_CONTRAST  # with the border's paper: gradients have none
    ink = is_separated & has_contrast & (roughness(brightness) < MAX_ROUGHNESS)
    several = ink & are_alike(largest, remove_specks(first.amount - largest), frame)
    return Hypotheses((seen * 255 * ink).round().to(torch.uint8), evidence, ink, several)
