"""There are several hypotheses on a picture, and the network's confidence chooses one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from drawing import Scene, draw_picture, rgba
from numpy.typing import NDArray

from mnistnet.data import DataSet
from mnistnet.inference.predictor import HYPOTHESES
from mnistnet.picture import log_prior, prepare
from mnistnet.picture.colour import to_brightness
from mnistnet.picture.hypotheses import hypotheses

Brightness = NDArray[np.float64]  # (H, W), 0–1
LIGHTER_NEARBY = "ink brighter than the paper near it"


def _band(ink: Brightness) -> Brightness:
    """Put dark ink on white paper with a black band across it, on which ink is white."""
    black = np.zeros(ink.shape, bool)
    black[:, ink.shape[1] // 3 :] = True
    return np.where(black, ink, 1 - ink)


def _shadow(ink: Brightness) -> Brightness:
    """Put half of the paper into a sharp, straight shadow."""
    lit = np.where(np.arange(ink.shape[0]) < ink.shape[0] * 0.45, 1.0, 0.6)
    return (0.95 - 0.6 * ink) * lit[:, None]


def _vignette(ink: Brightness) -> Brightness:
    """Light the paper in the middle, less to all sides."""
    y, x = (np.linspace(-1, 1, side) for side in ink.shape)
    return (0.95 - 0.4 * ink) * (1 - 0.35 * np.add.outer(y**2, x**2))


def _specks(ink: Brightness) -> Brightness:
    """Make every tenth pixel black or white."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(ink.shape) < 0.1, rng.integers(0, 2, ink.shape), ink)


def _outline(ink: Brightness) -> Brightness:
    """Keep only the edge of the ink."""
    padded = np.pad(ink > 0.5, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return ((ink > 0.5) & ~core).astype(float)


def _line(ink: Brightness) -> Brightness:
    """Draw a thin line through the ink, from edge to edge."""
    crossed = ink.copy()
    crossed[ink.shape[0] // 2] = 1
    return crossed


@pytest.mark.parametrize("corrupt", [_band, _shadow, _vignette, _specks, _outline, _line])
def test_digits_are_classified_under_corruptions_that_no_single_rule_handles(
    corrupt: Callable[[Brightness], Brightness],
    mnist: DataSet,
    network: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    correct = []
    for image, label in zip(mnist.train.images[-60::2], mnist.train.labels[-60::2], strict=True):
        seen, ink, *_ = prepare(_picture(corrupt(image / 255)), network)
        correct.append(ink and network(seen.unsqueeze(0)).argmax() == label)
    # One rule alone classifies 13 % (shadow) to 73 % (line) of all but specks and outlines.
    assert np.mean(correct) >= 0.78


def test_one_hypothesis_leaves_a_picture_framed_like_mnists_as_it_is(mnist: DataSet) -> None:
    for image in mnist.train.images[-20:]:
        framed = hypotheses(to_brightness(rgba(image))).seen[11].numpy()
        assert np.abs(framed.astype(int) - image).mean() < 12
        assert (framed[image == 0] > 128).mean() < 0.01


def test_the_hypothesis_with_the_highest_confidence_is_kept_unless_all_speaks_against_it() -> None:
    picture = draw_picture(3, Scene(height=84, width=84, digit_height=60), np.random.default_rng(3))
    found = hypotheses(to_brightness(rgba(picture)))
    kept = []
    for favourite in range(len(found.seen)):
        confidence = torch.full((len(found.seen), 10), 0.01)
        confidence[favourite, 3] = 0.99999
        kept.append(prepare(rgba(picture), lambda _, chosen=confidence: chosen).hypothesis)
    # Light ink between dark strokes is what no confidence can make of this picture.
    others = [i for i in range(len(kept)) if i != HYPOTHESES.index(LIGHTER_NEARBY)]
    assert [int(kept[i]) for i in others] == others
    assert int(kept[HYPOTHESES.index(LIGHTER_NEARBY)]) == log_prior(found).argmax()


def _picture(brightness: Brightness) -> torch.Tensor:
    return rgba((brightness.clip(0, 1) * 255).round().astype(np.uint8))


def test_every_hypothesis_has_a_name() -> None:
    picture = draw_picture(3, Scene(), np.random.default_rng(3))
    assert (
        len(hypotheses(to_brightness(rgba(picture))).seen)
        == len(HYPOTHESES)
        == len(set(HYPOTHESES))
    )
