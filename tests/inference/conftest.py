"""A predictor with the bundle that the package ships, and a picture that it reads."""

from __future__ import annotations

import numpy as np
import pytest
from drawing import FORMATS, Scene, draw_picture, encoded
from PIL import Image

from mnistnet import Predictor


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor()


@pytest.fixture(scope="session")
def four() -> Image.Image:
    """A 4, dark on light, 280 pixels high and 200 wide: it differs whichever way it is turned."""
    scene = Scene(height=280, width=200, digit_height=180, left=0.5, top=0.5)
    return Image.fromarray(draw_picture(4, scene, np.random.default_rng(1)))


@pytest.fixture(scope="session")
def files(four: Image.Image) -> dict[str, bytes]:
    """The 4 in every format: its name → the file's bytes."""
    return {kind: encoded(four, kind) for kind in FORMATS}
