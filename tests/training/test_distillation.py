"""Teachers are trained first, and the last network is distilled from their ensemble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mnistnet.data import DataSet, Split
from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.examples import smooth_labels
from mnistnet.training.fit import Progress, fit
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import Recipe
from mnistnet.training.torch_engine import soft_targets

Floats = NDArray[np.float32]

ALONE = Recipe(epochs=2, batch_size=100, label_smoothing=0.0)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_targets_are_the_geometric_mean_of_the_softened_probabilities(
    mnist: DataSet, temperature: float
) -> None:
    torch.manual_seed(0)
    nets = [MnistNet().eval() for _ in range(3)]
    images = torch.tensor(mnist.test.images[:70])
    targets = soft_targets(nets, images, temperature)
    with torch.no_grad():
        product = torch.stack([net(normalise(images)).exp() for net in nets]).prod(0)
    softened = product ** (1 / len(nets) / temperature)
    torch.testing.assert_close(targets, softened / softened.sum(1, keepdim=True))
    assert not targets.requires_grad


def test_the_last_network_learns_soft_targets_and_no_two_teachers_are_alike(
    mnist: DataSet,
) -> None:
    """At a high temperature soft targets are nearly flat, so the distilled network is unsure."""
    few = Split(mnist.train.images[:2000], mnist.train.labels[:2000])
    images, labels = mnist.test.images[:500], mnist.test.labels[:500]
    received: list[Progress] = []
    engine = engine_for(ALONE)

    def probabilities(recipe: Recipe, on_progress: Callable[[Progress], None]) -> Floats:
        state = fit(recipe, few, engine, on_progress=on_progress)
        return engine.probabilities(state.weights, images)

    alone = probabilities(ALONE, lambda _: None)
    distilled = probabilities(ALONE.replacing(teachers=2, temperature=10.0), received.append)
    for probabilities in (alone, distilled):
        assert (probabilities.argmax(1) == labels).mean() > 0.8
    assert alone.max(1).mean() > 0.8
    assert distilled.max(1).mean() < 0.5
    assert [(p.epoch, p.epochs) for p in received] == [(epoch, 6) for epoch in range(1, 7)]
    assert [p.network for p in received] == [1, 1, 2, 2, 3, 3]
    assert [p.fraction for p in received] == pytest.approx([epoch / 6 for epoch in range(1, 7)])
    first, second = received[0], received[2]  # the first epoch of each teacher
    assert (first.loss, first.accuracy) != (second.loss, second.accuracy)


def test_label_smoothing_is_torchs() -> None:
    logits, labels = torch.randn(50, 10), torch.arange(50) % 10
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits, labels)
    ours = torch.nn.CrossEntropyLoss()(
        logits, torch.tensor(smooth_labels(labels.numpy().astype(np.uint8), 0.1))
    )
    torch.testing.assert_close(ours, expected)
