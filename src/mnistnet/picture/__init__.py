"""Any picture of a digit → the 28×28 that the network reads, in torch operations alone.

    seen, ink = prepare(picture, judge)     # uint8 (H, W), any size → uint8 (28, 28), bool ()

No single rule finds the digit in every picture. So a picture is read in a few ways, each right
for some kind of picture, and the network, which knows digits, is asked which makes sense:

- what is paper? `light`: one brightness all over, or whatever the border continues inwards;
- what is ink? `ink`: Otsu's threshold tells two classes apart, and paper is not like strokes;
- where is the digit? `place`: in the box of what hangs together, looked at again, closer; or the
  picture was framed like MNIST's, and nothing needs to be moved;
- is something wrong with the strokes? `place`: specks, gaps or thin lines may be taken away.

Nothing depends on the data but the numbers: no branch, no loop of unknown length. So it exports
to a graph (see `bundle`) that gives the same answer in every runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mnistnet.picture.alignment import as_framed, as_mnist, box_of, mended, widened
from mnistnet.picture.canvas import light_against_paper, look, roughness, whole
from mnistnet.picture.ink import find_ink, without_strays

if TYPE_CHECKING:
    from collections.abc import Callable

FAINTEST = 0.03  # least contrast of ink; a pencil's is 0.08
SEPARATION = 0.74  # least share of variance between ink and paper; a shadow reaches 0.73
ROUGHEST = 0.9  # most roughness of a picture; outlines reach 0.89, pure noise has 1

# Which of the four basic readings each reading comes from: found or framed, the paper of one
# brightness or the border's. And what is held for or against each from the start, in log odds.
SOURCES = (0, 1, 2, 3, 0, 2, 2, 2)
PRIORS = (0.0, 1.1, -1.0, 0.5, -0.4, -1.3, -1.9, -1.7)
# What each piece of the evidence weighs, in log odds: how clearly ink and paper differ, how sure
# it is which is which, and how far there is more ink than in a digit. With the priors, these are
# the likeliest values for pictures that are no corruption of the evaluation's, and that no network
# was trained on: `benchmarks/reading_weights.py` fits them.
WEIGHTS = (4.3, 4.4, -2.1)
USUAL_MASS = 0.13  # mean ink of MNIST's pixels
# Confidence beyond this is no more evidence: the network is very sure of much that is no digit.
ENOUGH = 0.9


class Readings(NamedTuple):
    """What a picture may show: N ways to read it, from which the network's confidence chooses."""

    seen: Tensor  # uint8 (N, 28, 28), ink bright on dark
    evidence: Tensor  # float32 (N, 3): separation, sureness and squared log excess of ink
    ink: Tensor  # bool (): whether there is any

    @property
    def plausibility(self) -> Tensor:
        """Log odds of each way, float32 (N,), before the network is asked."""
        return self.evidence @ torch.tensor(WEIGHTS) + torch.tensor(PRIORS)


def prepare(picture: Tensor, judge: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Find the digit in a picture, and bring it into MNIST's form.

    Args:
        picture: uint8 (H, W), from 3×3 up; ink dark on light, or light on dark.
        judge: the network: uint8 (N, 28, 28) to probabilities (N, 10).

    Returns:
        What the network shall see, uint8 (28, 28), ink bright on dark; and whether there is any
        ink, bool (). Without ink the picture is black.
    """
    readings = read(picture)
    confidence = judge(readings.seen).amax(1).clamp(1e-6, ENOUGH)
    best = (readings.plausibility + confidence.logit()).argmax()
    return readings.seen[best], readings.ink


def read(picture: Tensor) -> Readings:
    """Read a picture, uint8 (H, W), in every way there is."""
    light = picture.float() / 255
    frame = whole(light)
    first = find_ink(light_against_paper(look(light, frame)))
    box = box_of(without_strays(first.amount), frame)
    near = widened(box, frame)
    closer = find_ink(light_against_paper(look(light, near)))
    found = as_mnist(without_strays(closer.amount), near)
    basic = torch.cat([found, as_framed(first.amount, frame)])  # (4, 28, 28)
    seen = torch.cat([basic, mended(basic)])  # (8, 28, 28)

    separation = torch.cat([closer.separation, first.separation])
    sureness = torch.cat([closer.sureness, first.sureness])
    excess = (seen.mean((1, 2)) / USUAL_MASS).clamp_min(1).log()
    source = list(SOURCES)
    evidence = torch.stack([separation[source], sureness[source], excess.square()], dim=1)

    is_clear = torch.maximum(first.separation, closer.separation).amax(0) > SEPARATION
    is_dark = first.contrast[1] > FAINTEST  # against the border's light: no gradient counts
    ink = is_clear & is_dark & (roughness(light) < ROUGHEST)
    return Readings((seen * 255 * ink).round().to(torch.uint8), evidence, ink)
