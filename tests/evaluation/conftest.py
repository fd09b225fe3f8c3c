"""A few of MNIST's test images, and made-up answers to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from mnistnet.data import DataSet


@pytest.fixture(scope="session")
def images(mnist: DataSet) -> np.ndarray:
    """The first 200 test images, uint8 (200, 28, 28)."""
    return mnist.test.images[:200]


@pytest.fixture(scope="session")
def labels(mnist: DataSet) -> np.ndarray:
    """Their labels, uint8 (200,)."""
    return mnist.test.labels[:200]


@pytest.fixture(scope="session")
def answers(labels: np.ndarray) -> np.ndarray:
    """A model's answers to them, float32 (200, 10): mostly right, with all degrees of doubt."""
    return doubtful_answers(labels, seed=1)


@pytest.fixture(scope="session")
def other_answers(labels: np.ndarray) -> np.ndarray:
    """Another, worse model's answers, float32 (200, 10)."""
    return doubtful_answers(labels, seed=2, skill=2.0)


def doubtful_answers(labels: np.ndarray, seed: int, skill: float = 4.0) -> np.ndarray:
    """Draw probabilities that favour the label by `skill`."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 10))
    logits[np.arange(len(labels)), labels] += skill
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
