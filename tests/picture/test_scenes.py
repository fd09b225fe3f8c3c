"""A digit is read in the scenes that people photograph, whatever else is in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import KINDS, draw_two_digits

from mnistnet import Predictor
from mnistnet.inference.predictor import SEVERAL


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor()


@pytest.mark.parametrize("kind", KINDS)
def test_a_digit_is_read_in_a_scene(kind: str, predictor: Predictor) -> None:
    rng = np.random.default_rng(3)
    right = []
    for digit in [*range(10)] * 4:
        prediction = predictor.predict(KINDS[kind](digit, rng))
        right.append(prediction.digit == digit and prediction.reason != SEVERAL)
    assert np.mean(right) >= 0.75  # of 40; without the hypotheses on its kind at most 0.5


def test_two_digits_are_more_than_one(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    reasons = [predictor.predict(draw_two_digits(rng)).reason for _ in range(60)]
    assert np.mean([reason == SEVERAL for reason in reasons]) >= 0.6  # 0.67
