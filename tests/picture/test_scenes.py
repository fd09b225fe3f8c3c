"""A digit is read in the scenes that people photograph, whatever else is in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scenes import KINDS, draw_two_digits
from unusual import PRINTED, WRITTEN, draw_unusual

from mnistnet import Predictor
from mnistnet.inference.predictor import SEVERAL

if TYPE_CHECKING:
    from mnistnet.data.strokes import Grey


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


@pytest.fixture(scope="module")
def unusual() -> dict[str, list[tuple[Grey, int | None]]]:
    kinds: dict[str, list[tuple[Grey, int | None]]] = {}
    for kind, picture, digit in draw_unusual(3, 20):
        kinds.setdefault(kind, []).append((picture, digit))
    return kinds


@pytest.mark.parametrize("kind", [*WRITTEN, *PRINTED])
def test_a_digit_of_an_unusual_form_is_read(
    kind: str, unusual: dict[str, list[tuple[Grey, int | None]]], predictor: Predictor
) -> None:
    right = [predictor.predict(picture).digit == digit for picture, digit in unusual[kind]]
    assert np.mean(right) >= (0.6 if kind == "dot matrix, 5×7" else 0.9)  # of 20


@pytest.mark.parametrize("kind", ["polygon of three to six corners", "heart", "crossed-out digit"])
def test_what_is_no_digit_is_mostly_not_sure(
    kind: str, unusual: dict[str, list[tuple[Grey, int | None]]], predictor: Predictor
) -> None:
    unsure = [not predictor.predict(picture).sure for picture, _ in unusual[kind]]
    assert np.mean(unsure) >= 0.75  # of 20; the networks that learnt from digits alone: at most 0.4
