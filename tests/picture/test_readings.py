"""A picture is read in several ways, and the network's confidence chooses among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from drawing import Scene, draw_picture

from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.model.network import MnistNet, normalise
from mnistnet.picture import prepare, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.data import DataSet

    Light = NDArray[np.float64]

NET = MnistNet.load(DEFAULT_BUNDLE)
FOUND, AGAINST_BORDER, FRAMED = 0, 1, 2


def _judge(images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return NET(normalise(images)).exp()


def _digit(light: Light) -> int:
    """Read light (H, W), 0–1."""
    picture = torch.tensor((light.clip(0, 1) * 255).round().astype(np.uint8))
    seen, ink = prepare(picture, _judge)
    assert ink
    return int(_judge(seen.unsqueeze(0)).argmax())


def _band(ink: Light) -> Light:
    """Lay dark ink on white paper with a black band across it, on which ink is white."""
    black = np.zeros(ink.shape, bool)
    black[:, ink.shape[1] // 3 :] = True
    return np.where(black, ink, 1 - ink)


def _shadow(ink: Light) -> Light:
    """Put half of the paper into a sharp, straight shadow."""
    lit = np.where(np.arange(ink.shape[0]) < ink.shape[0] * 0.45, 1.0, 0.6)
    return (0.95 - 0.6 * ink) * lit[:, None]


def _bowl(ink: Light) -> Light:
    """Light the paper in the middle, and let it fall off on all sides."""
    y, x = (np.linspace(-1, 1, side) for side in ink.shape)
    return (0.95 - 0.4 * ink) * (1 - 0.35 * np.add.outer(y**2, x**2))


def _specks(ink: Light) -> Light:
    """Turn every tenth pixel black or white."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(ink.shape) < 0.1, rng.integers(0, 2, ink.shape), ink)


def _outline(ink: Light) -> Light:
    """Leave only where ink begins and ends."""
    padded = np.pad(ink > 0.5, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return ((ink > 0.5) & ~core).astype(float)


def _line(ink: Light) -> Light:
    """Draw a thin line through the ink, from edge to edge."""
    crossed = ink.copy()
    crossed[ink.shape[0] // 2] = 1
    return crossed


@pytest.mark.parametrize("spoil", [_band, _shadow, _bowl, _specks, _outline, _line])
def test_a_digit_is_read_through_what_one_rule_alone_would_stumble_over(
    spoil: Callable[[Light], Light], mnist: DataSet
) -> None:
    images, labels = mnist.train.images[-60:] / 255, mnist.train.labels[-60:]
    right = [_digit(spoil(image)) == label for image, label in zip(images, labels, strict=True)]
    # One rule alone reads 13 % (shadow) to 73 % (line) of all but specks and outlines.
    assert np.mean(right) >= 0.78


def test_a_picture_framed_like_mnists_stays_as_it_is_in_one_reading(mnist: DataSet) -> None:
    for image in mnist.train.images[-20:]:
        framed = read(torch.tensor(image)).seen[FRAMED].numpy()
        assert np.abs(framed.astype(int) - image).mean() < 12
        assert (framed[image == 0] > 128).mean() < 0.01


def test_the_border_s_light_is_taken_for_the_paper_s_wherever_ink_is_dark_and_bright() -> None:
    ink = (
        255 - draw_picture(3, Scene(height=84, width=84, digit_height=60), _rng()).astype(float)
    ) / 255
    picture = torch.tensor((_band(ink) * 255).astype(np.uint8))
    plain = torch.tensor(((1 - ink) * 255).astype(np.uint8))
    banded, whole = (read(p).seen[AGAINST_BORDER].float() for p in (picture, plain))
    assert (banded - whole).abs().sum() < 0.2 * whole.sum()


def test_the_most_confident_reading_is_kept() -> None:
    picture = torch.tensor(draw_picture(3, Scene(height=84, width=84, digit_height=60), _rng()))
    readings = read(picture)
    for favourite in range(len(readings.seen)):
        confidence = torch.full((len(readings.seen), 10), 0.01)
        confidence[favourite, 3] = 0.99999
        seen, _ = prepare(picture, lambda _, chosen=confidence: chosen)
        assert torch.equal(seen, readings.seen[favourite])


def _rng() -> np.random.Generator:
    return np.random.default_rng(3)
