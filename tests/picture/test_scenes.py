"""A digit is read in the scenes that people photograph, whatever else is in the picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from drawing import rgba
from scenes import KINDS, draw_two_digits

from mnistnet.picture import prepare

Network = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize("kind", KINDS)
def test_a_digit_is_read_in_a_scene(kind: str, network: Network) -> None:
    rng = np.random.default_rng(3)
    right = []
    for digit in [*range(10)] * 4:
        prepared = prepare(rgba(KINDS[kind](digit, rng)), network)
        read = network(prepared.seen.unsqueeze(0)).argmax()
        right.append(bool(prepared.ink) and read == digit and not prepared.several)
    assert np.mean(right) >= 0.75  # of 40; without the hypotheses on its kind at most 0.5


def test_two_digits_are_more_than_one(network: Network) -> None:
    rng = np.random.default_rng(0)
    several = [bool(prepare(rgba(draw_two_digits(rng)), network).several) for _ in range(60)]
    assert np.mean(several) >= 0.6  # 0.67; of 210 scenes with one digit none
