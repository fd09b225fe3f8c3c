"""Training on several threads computes what one would, and quick convolutions what torch does."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mnistnet.model import MnistNet, normalise
from mnistnet.training.convolution import convolve
from mnistnet.training.replicas import replicating, smoothed_loss


@pytest.mark.parametrize(("channels", "kernels", "size"), [(1, 8, 3), (8, 16, 3), (32, 32, 2)])
def test_the_quick_convolution_and_its_gradients_are_torchs(
    channels: int, kernels: int, size: int
) -> None:
    x = torch.randn(5, channels, 9, 9, dtype=torch.float64)
    weight = torch.randn(kernels, channels, size, size, dtype=torch.float64)
    bias = torch.randn(kernels, dtype=torch.float64)
    results = []
    for function in (convolve, F.conv2d):
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
        y = function(*leaves)
        torch.autograd.backward((y * y.detach().cos()).sum())
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    torch.testing.assert_close(results[0], results[1])


def test_the_quick_convolution_follows_autocast() -> None:
    x, weight = torch.randn(2, 1, 9, 9), torch.randn(4, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve(x, weight, torch.zeros(4)).dtype == torch.bfloat16


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_replicas_add_up_to_the_gradient_of_the_batchs_mean(threads: int) -> None:
    """Each replica normalises by its own share's statistics, so the shares are made alike."""
    share = torch.randint(0, 256, (4, 28, 28), dtype=torch.uint8)
    labels = torch.tensor([1, 2, 3, 4])
    net = MnistNet()
    with replicating(net, threads=threads, precision="float32", label_smoothing=0.1) as replicas:
        result = replicas.gradients(share.repeat(threads, 1, 1), labels.repeat(threads))
        replicas.share_statistics()
    alone = MnistNet()
    alone.load_state_dict(net.state_dict())
    alone.train()
    loss = smoothed_loss(alone(normalise(share)), labels, 0.1)
    torch.autograd.backward(loss)
    torch.testing.assert_close(result.loss, loss.detach())
    for (name, ours), theirs in zip(net.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3, msg=name)


def test_statistics_are_the_mean_of_the_replicas() -> None:
    net = MnistNet()
    with replicating(net, threads=2, precision="float32", label_smoothing=0.0) as replicas:
        replicas.gradients(torch.randint(0, 256, (8, 28, 28), dtype=torch.uint8), torch.arange(8))
        own = [r.features[2].running_mean.clone() for r in replicas.replicas]  # type: ignore[union-attr]
        replicas.share_statistics()
    assert not torch.equal(own[0], own[1])
    torch.testing.assert_close(net.features[2].running_mean, (own[0] + own[1]) / 2)


def test_the_thread_count_is_put_back() -> None:
    before = torch.get_num_threads()
    with replicating(MnistNet(), threads=1, precision="float32", label_smoothing=0.0):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
