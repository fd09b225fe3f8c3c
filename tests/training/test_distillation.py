"""Teachers are trained first, and the last network learns what they say together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from mnistnet.data import Split
from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.compiled import compiled_step
from mnistnet.training.distillation import Teachers
from mnistnet.training.hardware import Hardware
from mnistnet.training.loop import Progress, fit
from mnistnet.training.prediction import predict
from mnistnet.training.recipe import Recipe

if TYPE_CHECKING:
    from mnistnet.data import DataSet

SHORT = Recipe(epochs=2, batch_size=100, label_smoothing=0.0)
TAUGHT = SHORT.replacing(teachers=2, temperature=10.0)
NEEDS_COMPILER = pytest.mark.skipif(
    compiled_step("float32") is None, reason="no C++ compiler was found here"
)


@pytest.fixture(scope="module")
def few(mnist: DataSet) -> Split:
    return Split(mnist.train.images[:2000], mnist.train.labels[:2000])


@pytest.mark.parametrize("engine", ["torch", pytest.param("compiled", marks=NEEDS_COMPILER)])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_teachers_say_the_geometric_mean_of_their_softened_probabilities(
    mnist: DataSet, engine: str, temperature: float
) -> None:
    torch.manual_seed(0)
    nets = [MnistNet().eval() for _ in range(3)]
    images = torch.tensor(mnist.test.images[:700])  # more than one part
    teachers = Teachers(nets, Hardware(torch.device("cpu"), engine, "float32", 2), temperature)
    with ThreadPoolExecutor(2) as pool:
        said = teachers.say(images, pool)
    with torch.no_grad():
        product = torch.stack([net(normalise(images)).exp() for net in nets]).prod(0)
    softened = product ** (1 / len(nets) / temperature)
    torch.testing.assert_close(said, softened / softened.sum(1, keepdim=True))
    assert not said.requires_grad


def test_the_teachers_learn_labels_and_the_last_network_what_they_say(
    mnist: DataSet, few: Split
) -> None:
    """So softened that hardly more than an order is left, it is what the last network says too."""
    images = mnist.test.images[:500]
    labels = torch.tensor(mnist.test.labels[:500])
    alone = torch.tensor(predict(fit(SHORT, few), images))
    taught = torch.tensor(predict(fit(TAUGHT, few), images))
    for network in (alone, taught):
        assert (network.argmax(1) == labels).float().mean() > 0.8
    assert alone.amax(1).mean() > 0.8
    assert taught.amax(1).mean() < 0.5


def test_progress_counts_the_epochs_of_all_networks(few: Split) -> None:
    told: list[Progress] = []
    fit(SHORT.replacing(teachers=2), few, on_progress=told.append)
    assert [(p.epoch, p.epochs) for p in told] == [(epoch, 6) for epoch in range(1, 7)]
    assert [p.network for p in told] == [1, 1, 2, 2, 3, 3]
    assert [p.fraction for p in told] == pytest.approx([epoch / 6 for epoch in range(1, 7)])


def test_no_two_teachers_learn_alike(few: Split) -> None:
    """Else they would all err alike, and say no more together than one of them."""
    told: list[Progress] = []
    fit(SHORT.replacing(teachers=2), few, on_progress=told.append)
    first, second = told[0], told[2]  # the first epoch of each
    assert (first.loss, first.accuracy) != (second.loss, second.accuracy)
