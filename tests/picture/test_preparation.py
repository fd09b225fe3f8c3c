"""Whatever the picture, its digit is brought into MNIST's form; and without ink there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from drawing import Scene, draw_picture, rgba
from numpy.typing import NDArray

from mnistnet.data import DataSet
from mnistnet.picture import prepare
from mnistnet.picture.colour import to_brightness
from mnistnet.picture.hypotheses import hypotheses

Grey = NDArray[np.uint8]
Prepare = Callable[[NDArray[np.generic]], Grey]


@pytest.fixture(scope="module")
def prepared(network: Callable[[torch.Tensor], torch.Tensor]) -> Prepare:
    """Prepare a picture; black where there is no ink."""

    def prepared(picture: NDArray[np.generic]) -> Grey:
        seen, ink, *_ = prepare(rgba(picture.astype(np.uint8)), network)
        assert bool(ink) == bool(seen.any())
        return seen.numpy()

    return prepared


def _draw(digit: int = 5, **changes: object) -> Grey:
    return draw_picture(digit, Scene(**changes), np.random.default_rng(digit))  # type: ignore[arg-type]


def _difference(a: Grey, b: Grey) -> float:
    """Mean difference as a share of the ink: 0 the same, 2 nothing in common."""
    return float(np.abs(a.astype(float) - b).sum() / a.sum(dtype=float))


@pytest.fixture(scope="module")
def digits(mnist: DataSet) -> Grey:
    """Fifty images of MNIST."""
    return mnist.train.images[-50:]


def test_the_longer_side_is_20_pixels_and_the_mass_lies_at_index_14(digits: Grey) -> None:
    for digit in digits:
        seen = hypotheses(to_brightness(rgba(digit))).seen[0].numpy()  # the aligned one
        rows, columns = np.flatnonzero(seen.max(1) > 100), np.flatnonzero(seen.max(0) > 100)
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
        for axis in (0, 1):
            mass = seen.sum(axis, dtype=float)
            assert abs((mass * np.arange(28)).sum() / mass.sum() - 14) < 0.6


def test_mnists_own_images_stay_as_they_are_with_either_polarity(
    digits: Grey, prepared: Prepare
) -> None:
    changes, polarity_changes = [], []
    for digit in digits:
        bright, dark = prepared(digit), prepared(255 - digit)
        changes.append(_difference(digit, bright))
        # Where the centre of mass lies between two pixels, either may be taken.
        moved = [np.roll(dark, step, axis) for axis in (0, 1) for step in (-1, 0, 1)]
        polarity_changes.append(min(_difference(bright, m) for m in moved))
    assert np.median(changes) < 0.35  # a shift by one pixel alone makes 0.6
    assert max(polarity_changes) < 0.3  # ink taken for paper makes more than 1
    assert np.mean(np.array(polarity_changes) < 0.01) >= 0.9  # or two hypotheses are as good


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 100, "width": 100, "digit_height": 57},
        {"height": 1200, "width": 900, "digit_height": 685},
        {"left": 0.0, "top": 0.0},
        {"left": 1.0, "top": 1.0},
        {"width": 700},
        {"paper": 20, "ink": 235},
        {"paper": 200, "ink": 160},
        {"gradient": 120},
        {"grain": 8},
        {"specks": 3},
        {"jpeg": 20},
    ],
    ids=str,
)
@pytest.mark.parametrize("digit", [2, 5, 7])
def test_size_position_polarity_contrast_gradient_grain_and_compression_do_not_matter(
    digit: int, changes: dict[str, object], prepared: Prepare
) -> None:
    assert _difference(prepared(_draw(digit)), prepared(_draw(digit, **changes))) < 0.4


@pytest.mark.parametrize("polarity", ["dark", "bright"])
def test_thick_ink_in_a_tight_crop_is_ink_though_it_is_the_majority(
    polarity: str, prepared: Prepare
) -> None:
    thick = _draw(8, height=90, width=64, digit_height=86, pen=0.26)
    assert (thick < 128).mean() > 0.5
    seen = prepared(thick if polarity == "dark" else 255 - thick)
    assert seen[14, 14] > 128  # where the two loops of an 8 meet
    assert seen[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0  # and the corners are paper


def test_a_few_pixels_become_smooth_strokes_not_blocks(prepared: Prepare) -> None:
    assert len(np.unique(prepared(_draw(0, height=8, width=6, digit_height=8, pen=0.15)))) > 40


def test_specks_are_removed(prepared: Prepare) -> None:
    clean, marked = _draw(3), _draw(3)
    marked[10:14, 10:14] = 0
    marked[260:265, 200:204] = 0
    assert _difference(prepared(clean), prepared(marked)) < 0.1


_random = np.random.default_rng(0)
_ramp = np.linspace(0, 1, 200)
NO_INK = {
    "black": np.zeros((100, 80)),
    "white": np.full((28, 28), 255),
    "grey, tiny": np.full((8, 8), 130),
    "noise": _random.normal(128, 20, (300, 200)).clip(0, 255),
    "faint noise": _random.normal(200, 2, (64, 64)),
    "loud noise, small": _random.integers(0, 256, (28, 28)),
    "salt and pepper": np.where(_random.random((200, 200)) < 0.05, 255, 0),
    "gradient": np.add.outer(_ramp, _ramp) * 110 + 20,
    "gradient with noise": np.add.outer(_ramp, _ramp) * 60 + _random.normal(100, 4, (200, 200)),
    "shadow": 240 - 150 * np.hypot.outer(_ramp - 0.4, _ramp - 0.6) ** 2,
}


@pytest.mark.parametrize("name", NO_INK)
def test_pictures_without_ink_become_black(name: str, prepared: Prepare) -> None:
    assert not prepared(NO_INK[name]).any()


def test_a_faint_pencil_is_ink(prepared: Prepare) -> None:
    assert prepared(_draw(4, paper=225, ink=200, grain=2)).max() > 200


@pytest.mark.parametrize("shape", [(3, 3), (3, 150), (150, 3), (8, 8), (5, 20)])
def test_a_picture_of_any_shape_becomes_28_by_28(shape: tuple[int, int], prepared: Prepare) -> None:
    seen = prepared(_random.integers(0, 256, shape))
    assert seen.shape == (28, 28)
    assert seen.dtype == np.uint8
