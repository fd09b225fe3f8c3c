"""Any picture of a digit → the 28×28 image that the network reads, in torch operations alone.

    prepared = prepare(picture, network)     # uint8 (H, W, 4), any size → .seen uint8 (28, 28)

`colour` makes brightness of colour and transparency. No single rule finds the digit in every
picture. So there are fifteen hypotheses on what a picture shows, each right for some kind. The
network evaluates them all; the digit that is most probable over all of them is kept, and of the
hypotheses the one that speaks most for it. They differ in what they assume:

- What is paper? `paper`: one brightness, what the border continues inwards, what lies near; or it
  is the largest region of a class: a sheet on a desk, a card, a window.
- What is ink? `ink`: Otsu's threshold splits two classes, and paper is not shaped like strokes.
- Where is the digit? `components`: a connected component, chosen by its place, size and shape.
  What touches the border or encloses it may be no ink. It is cropped and analysed once more; or
  the picture is framed like MNIST's, and nothing has to be moved.
- Are the strokes damaged? `alignment`: morphology removes specks, gaps or thin lines.

No operation depends on the data but through numbers: no branch, no loop of unknown length. So it
exports to a graph (see `bundle`) that computes the same in every runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mnistnet.picture.colour import to_brightness
from mnistnet.picture.hypotheses import Hypotheses, hypotheses

if TYPE_CHECKING:
    from collections.abc import Callable

# The posterior probability of a hypothesis is a softmax of its log prior, its weighted evidence
# (see `hypotheses`), and the weighted log odds of the network's confidence. These are the maximum
# likelihood estimate on drawn pictures that are no corruption of the evaluation's:
# `benchmarks/hypotheses.py` fits them.
LOG_PRIORS = (
    0.0,
    -0.04,
    1.88,
    2.08,
    1.43,
    2.0,
    -1.88,
    0.47,
    0.27,
    0.1,
    -0.33,
    0.08,
    -0.14,
    -0.91,
    -0.94,
)
EVIDENCE_WEIGHTS = (5.91, 1.07, 2.13, -0.69, -3.16, -1.03, -11.75, 1.25, -4.47, -0.9, -4.44)
CONFIDENCE_WEIGHT = 1.23
# Confidence above this is no more evidence: the network is very confident of much that is no digit.
CONFIDENCE_CAP = 0.98


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
    found = hypotheses(to_brightness(picture))
    probabilities = network(found.seen)  # (N, 10)
    confidence = probabilities.amax(1).clamp(1e-6, CONFIDENCE_CAP)
    posterior = (log_prior(found) + CONFIDENCE_WEIGHT * confidence.logit()).softmax(0)
    joint = posterior.unsqueeze(1) * probabilities
    best = joint[:, joint.sum(0).argmax()].argmax()
    return Prepared(found.seen[best], found.ink[best], found.several[best], best)


def log_prior(found: Hypotheses) -> Tensor:
    """Return the log odds of each hypothesis before the network evaluates it, float32 (N,)."""
    return found.evidence @ torch.tensor(EVIDENCE_WEIGHTS) + torch.tensor(LOG_PRIORS)
