"""The course's seven tests, by the course's names."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mnistnet.data import DataSet
from mnistnet.model.architecture import parameter_count
from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.train import TrainResult


def test_parameter_count() -> None:
    count = sum(p.numel() for p in MnistNet().parameters())
    assert count == parameter_count()
    assert count < 25_000
    assert count == 20_826


def test_input_size() -> None:
    net = MnistNet().eval()
    assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1000])
def test_batch_input(n: int) -> None:
    net = MnistNet().eval()
    x = torch.randn(n, 1, 28, 28)
    together = net(x)
    assert together.shape == (n, 10)
    # A picture's answer does not depend on its neighbours in the batch.
    torch.testing.assert_close(together[-1:], net(x[-1:]), atol=1e-5, rtol=1e-5)


def test_gradient_flow(mnist: DataSet) -> None:
    net = MnistNet()
    x = normalise(torch.tensor(mnist.train.images[:256]))
    y = torch.tensor(mnist.train.labels[:256]).long()
    torch.autograd.backward(F.nll_loss(net(x), y))
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_output_range(fast_run: TrainResult, mnist: DataSet) -> None:
    net = MnistNet.load(fast_run.run.folder)
    with torch.inference_mode():
        probabilities = net(normalise(torch.tensor(mnist.test.images[:500]))).exp()
    assert (probabilities >= 0).all()
    assert (probabilities <= 1).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(500), atol=1e-5, rtol=0)
    # A distribution that says something: sure of most pictures, and of each digit for some.
    assert probabilities.max(1).values.mean() > 0.8
    assert set(probabilities.argmax(1).tolist()) == set(range(10))


@pytest.mark.parametrize(("sigma", "floor"), [(10, 0.985), (30, 0.97), (40, 0.93)])
def test_noisy_input(fast_run: TrainResult, mnist: DataSet, sigma: float, floor: float) -> None:
    """Gaussian noise of `sigma` grey levels (of 255) on the first 2,000 test images."""
    noise = torch.randn(2000, 28, 28, generator=torch.Generator().manual_seed(0)) * sigma
    noisy = (torch.tensor(mnist.test.images[:2000]) + noise).round().clamp(0, 255).to(torch.uint8)
    net = MnistNet.load(fast_run.run.folder)
    with torch.inference_mode():
        predictions = net(normalise(noisy)).argmax(1)
    assert (predictions.numpy() == mnist.test.labels[:2000]).mean() >= floor


def test_model_accuracy(fast_run: TrainResult, mnist: DataSet) -> None:
    net = MnistNet.load(fast_run.run.folder)
    with torch.inference_mode():
        batches = torch.tensor(mnist.test.images).split(500)  # all at once takes twice as long
        predictions = torch.cat([net(normalise(batch)).argmax(1) for batch in batches])
    accuracy = (predictions.numpy() == mnist.test.labels).mean()
    assert accuracy == fast_run.accuracy
    assert accuracy >= 0.95  # the course's
    assert accuracy >= 0.99  # ours
