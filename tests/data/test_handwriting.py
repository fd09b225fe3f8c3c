"""Drawn digits are digits in MNIST's form, and drawn outliers are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnistnet.data import DataSet
from mnistnet.data.allographs import allographs
from mnistnet.data.handwriting import draw_digits
from mnistnet.data.outliers import KINDS, draw_outliers

Images = NDArray[np.uint8]
Draw = Callable[..., Images]


def _digits(n: int, seed: int, first: int = 0) -> Images:
    return draw_digits(n, seed, first).images


@pytest.fixture(scope="module")
def drawn() -> Images:
    return _digits(2000, seed=0)


@pytest.fixture(scope="module")
def outliers() -> Images:
    return draw_outliers(100 * KINDS, seed=0)


@pytest.mark.parametrize("draw", [_digits, draw_outliers])
def test_a_picture_depends_on_seed_and_number_alone(draw: Draw) -> None:
    few = draw(40, seed=3)
    assert np.array_equal(draw(40, seed=3), few)
    assert np.array_equal(draw(15, seed=3, first=20), few[20:35])
    assert (draw(40, seed=4) != few).any(axis=(1, 2)).all()
    assert len(np.unique(few, axis=0)) == 40
    assert draw(0, seed=3).shape == (0, 28, 28)


def test_drawn_digits_have_the_form_and_the_ink_of_mnist(drawn: Images, mnist: DataSet) -> None:
    assert drawn.dtype == np.uint8
    assert (drawn.max(axis=(1, 2)) == 255).all()
    inked = drawn > 127
    for axis in (1, 2):
        sides = inked.any(axis=axis)
        extent = 28 - sides.argmax(1) - sides[:, ::-1].argmax(1)
        assert extent.max() <= 20
        mass = drawn.sum(axis=axis, dtype=np.float64)
        centre = (mass * np.arange(28)).sum(1) / mass.sum(1)
        # It is computed before greys are rounded; a digit may be cut off at the picture's edge.
        assert (np.abs(centre - 14) < 0.55).mean() > 0.998
    greys = [np.mean((a > 20) & (a < 235)) for a in (drawn, mnist.test.images[:2000])]
    assert greys[0] == pytest.approx(greys[1], rel=0.3)
    ink = drawn.mean(axis=(1, 2)) / 255
    usual = mnist.test.images[:2000].mean(axis=(1, 2)) / 255
    assert ink.mean() == pytest.approx(usual.mean(), rel=0.15)
    assert np.quantile(ink, 0.02) < np.quantile(usual, 0.02)  # thinner pens, and thicker
    assert np.quantile(ink, 0.98) > np.quantile(usual, 0.98)


def test_a_network_that_never_saw_drawn_digits_reads_most_of_them(
    drawn: Images, outliers: Images, network: Callable[[Tensor], Tensor]
) -> None:
    labels, confident = np.arange(2000) % 10, []
    for images in (drawn, outliers):
        probabilities = network(torch.from_numpy(images)).numpy()
        confident.append((probabilities.max(1) > 0.9).mean())
        if images is drawn:
            right = probabilities.argmax(1) == labels
    assert right.mean() > 0.9
    assert min(right[labels == digit].mean() for digit in range(10)) > 0.75
    assert confident[0] > confident[1] + 0.3


def test_every_digit_has_many_shapes_and_all_are_drawn() -> None:
    shapes = allographs()
    assert [len(of_one) >= 9 for of_one in shapes] == [True] * 10
    skeletons = [shape.strokes for of_one in shapes for shape in of_one]
    assert len(set(skeletons)) == len(skeletons)


def test_outliers_are_of_every_kind_in_equal_numbers(outliers: Images) -> None:
    index = np.arange(len(outliers))
    by_kind = [outliers[(index + index // KINDS) % KINDS == kind] for kind in range(KINDS)]
    assert {len(images) for images in by_kind} == {100}
    ink = [float(images.mean()) / 255 for images in by_kind]
    assert ink[8] > 0.6  # dark on bright
    assert max(ink[:7]) < 0.35
    small = (by_kind[7] > 127).sum(axis=(1, 2))
    assert (small < 15).mean() > 0.1  # much too small
    filled = (by_kind[10] > 127).sum(axis=(1, 2)) / (by_kind[10] > 0).sum(axis=(1, 2))
    assert filled.min() < 0.5 < 0.8 < filled.max()  # from soft shadows to hard dots
