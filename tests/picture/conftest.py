"""The shipped network, as the preparation takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.model.network import MnistNet, normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


@pytest.fixture(scope="session")
def network() -> Callable[[torch.Tensor], torch.Tensor]:
    """uint8 (N, 28, 28) to probabilities (N, 10)."""
    net = MnistNet.load(DEFAULT_BUNDLE).requires_grad_(False)
    return lambda images: net(normalise(images)).exp()
