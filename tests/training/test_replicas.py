"""Training on several threads, or compiled, computes what torch computes on one."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mnistnet.data import Split
from mnistnet.errors import RecipeError
from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.compiled import compiled_step
from mnistnet.training.convolution import convolve
from mnistnet.training.distillation import smooth_labels
from mnistnet.training.hardware import Hardware, resolve
from mnistnet.training.prediction import predict
from mnistnet.training.recipe import Recipe
from mnistnet.training.replicas import replicating

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from mnistnet.data import DataSet


@pytest.mark.parametrize(("channels", "kernels", "size"), [(1, 8, 3), (8, 16, 3), (32, 32, 2)])
def test_the_convolution_and_its_gradients_are_torchs(
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


def test_the_convolution_follows_autocast() -> None:
    x, weight = torch.randn(2, 1, 9, 9), torch.randn(4, 1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve(x, weight, torch.zeros(4)).dtype == torch.bfloat16


NEEDS_COMPILER = pytest.mark.skipif(
    compiled_step("float32") is None, reason="no C++ compiler was found here"
)
NEEDS_BFLOAT16 = pytest.mark.skipif(
    compiled_step("bfloat16") is None, reason="this processor does not multiply bfloat16"
)
ENGINES = ["torch", pytest.param("compiled", marks=NEEDS_COMPILER)]


def _hardware(engine: str, threads: int, precision: str = "float32") -> Hardware:
    return Hardware(torch.device("cpu"), engine, precision, threads)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_replicas_add_up_to_the_gradient_of_the_batchs_mean(
    mnist: DataSet, engine: str, threads: int
) -> None:
    """Each replica normalises by its own share's statistics, so the shares are made alike."""
    share, labels = torch.tensor(mnist.train.images[:8]), torch.tensor(mnist.train.labels[:8])
    labels = labels.long()
    torch.manual_seed(0)
    net = MnistNet()
    alone, threads_before = copy.deepcopy(net).train(), torch.get_num_threads()
    with replicating(net, _hardware(engine, threads)) as replicas:
        assert torch.get_num_threads() == 1
        result = replicas.gradients(
            share.repeat(threads, 1, 1), smooth_labels(labels.repeat(threads), 0.1)
        )
        replicas.average_statistics()
    assert torch.get_num_threads() == threads_before
    log_probabilities = alone(normalise(share))
    loss = F.cross_entropy(log_probabilities, smooth_labels(labels, 0.1))
    torch.autograd.backward(loss)
    assert result.loss == pytest.approx(loss.item(), rel=1e-5)
    assert result.correct == threads * int((log_probabilities.argmax(1) == labels).sum())
    for (name, ours), theirs in zip(net.named_parameters(), alone.parameters(), strict=True):
        assert _nearly(ours.grad, theirs.grad), name
    for (name, ours), theirs in zip(net.named_buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4, msg=name)


def _nearly(ours: Tensor | None, theirs: Tensor | None) -> bool:
    """Compare norms: where two of four pooled values are almost equal, rounding picks one."""
    assert ours is not None
    assert theirs is not None
    return bool((ours - theirs).norm() < 0.01 * theirs.norm() + 1e-5)


@NEEDS_COMPILER
def test_the_compiled_step_and_torchs_layers_agree_with_any_weights(mnist: DataSet) -> None:
    """Negative BatchNorm scales swap maxima and minima, which pooling must follow."""
    torch.manual_seed(0)
    net = MnistNet()
    for parameter in net.parameters():
        if parameter.ndim == 1:
            sign = torch.randint(0, 2, parameter.shape) * 2 - 1
            parameter.data = sign * (0.5 + torch.rand(parameter.shape))
    images, labels = mnist.train.images[:16], mnist.train.labels[:16]
    few = Split(images, labels)  # the more, the more often two pooled values are almost equal
    ours, theirs = (_gradients(net, few, _hardware(e, 1)) for e in ("compiled", "torch"))
    assert _nearly(ours, theirs)


def _gradients(net: MnistNet, batch: Split, hardware: Hardware) -> Tensor:
    """Return all gradients of a copy of the network, flattened."""
    net, targets = copy.deepcopy(net), smooth_labels(torch.tensor(batch.labels).long(), 0.1)
    with replicating(net, hardware) as replicas:
        replicas.gradients(torch.tensor(batch.images), targets)
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@NEEDS_BFLOAT16
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_bfloat16_the_compiled_step_is_nearer_to_float32_than_torchs_layers_are(
    mnist: DataSet, seed: int
) -> None:
    torch.manual_seed(seed)
    net = MnistNet()
    few = Split(mnist.train.images[:64], mnist.train.labels[:64])
    exact = _gradients(net, few, _hardware("torch", 1))
    error, torchs_error = (
        float((_gradients(net, few, _hardware(engine, 1, "bfloat16")) - exact).norm())
        for engine in ("compiled", "torch")
    )
    assert 0 < error < torchs_error


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_may_be_smaller_than_there_are_threads(mnist: DataSet, engine: str) -> None:
    with replicating(MnistNet(), _hardware(engine, 4)) as replicas:
        for size in (2, 9, 1):
            images = torch.tensor(mnist.train.images[:size])
            labels = torch.tensor(mnist.train.labels[:size]).long()
            result = replicas.gradients(images, smooth_labels(labels, 0.0))
            assert 0 <= result.correct <= size


@pytest.mark.parametrize("engine", ENGINES)
def test_statistics_are_the_mean_of_the_replicas(mnist: DataSet, engine: str) -> None:
    images = torch.tensor(mnist.train.images[:8])
    torch.manual_seed(0)
    net = MnistNet()
    alone = [copy.deepcopy(net).train() for _ in range(2)]
    for one, share in zip(alone, images.chunk(2), strict=True):
        one(normalise(share))
    with replicating(net, _hardware(engine, 2)) as replicas:
        replicas.gradients(images, smooth_labels(torch.arange(8), 0.0))
        replicas.average_statistics()
    for ours, *theirs in zip(net.buffers(), *(one.buffers() for one in alone), strict=True):
        assert not ours.ndim or not torch.equal(*theirs)
        mean = torch.stack(theirs).double().mean(0)
        torch.testing.assert_close(ours.double(), mean, atol=1e-6, rtol=1e-4)


def test_auto_takes_the_compiled_step_only_where_it_supports_the_recipe() -> None:
    auto = Recipe(device="cpu")
    assert resolve(auto).engine == ("compiled" if compiled_step("float32") else "torch")
    for changes in ({"dropout": 0.1}, {"engine": "torch"}):
        assert resolve(auto.replacing(**changes)).engine == "torch"
    with pytest.raises(RecipeError, match="engine is compiled, but it has no dropout"):
        resolve(auto.replacing(engine="compiled", dropout=0.1))


@NEEDS_COMPILER
def test_the_compiled_step_uses_the_precision_that_is_asked_for() -> None:
    native = "bfloat16" if compiled_step("bfloat16") else "float32"
    for asked, taken in (("auto", native), ("float32", "float32")):
        hardware = resolve(Recipe(device="cpu", precision=asked))
        assert (hardware.engine, hardware.precision) == ("compiled", taken)
    asked_bfloat16 = resolve(Recipe(device="cpu", precision="bfloat16"))
    assert asked_bfloat16.precision == "bfloat16"
    assert (asked_bfloat16.engine == "compiled") == (native == "bfloat16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="device is cuda"):
        resolve(Recipe(device="cuda"))


NO_COMPILER = """
from mnistnet.training.hardware import describe
from mnistnet.training.recipe import Recipe
print(describe(Recipe(device="cpu"))["engine"])
describe(Recipe(device="cpu", engine="compiled"))
"""


def test_without_a_compiler_torchs_layers_are_used_and_the_compiled_engine_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_COMPILER],
        env={**os.environ, "PATH": "", "CXX": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "torch"
    assert "engine is compiled, but no C++ compiler was found" in done.stderr


@NEEDS_COMPILER
def test_the_step_is_compiled_once_and_says_so(tmp_path: Path) -> None:
    homes = ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA")
    environment = {**os.environ, **dict.fromkeys(homes, str(tmp_path))}
    build = "from mnistnet.training.compiled import compiled_step as c; assert c('float32')"
    messages, libraries = [], []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", build], env=environment, check=True, capture_output=True
        )
        messages.append(done.stderr.decode())
        libraries.append([(p, p.stat().st_mtime_ns) for p in tmp_path.rglob("step-*.so")])
    assert len(libraries[0]) == 1
    assert libraries[0] == libraries[1]
    assert messages[0].startswith("compiling the training step in float32")
    assert messages[1] == ""


@NEEDS_COMPILER
def test_the_compiled_step_predicts_what_torchs_layers_predict(mnist: DataSet) -> None:
    torch.manual_seed(0)
    net = MnistNet()
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.weight)
            torch.nn.init.normal_(layer.bias)
            layer.running_mean = torch.randn_like(layer.bias)
            layer.running_var = torch.rand_like(layer.bias) + 0.5
    torch.nn.init.normal_(net.classifier[0].weight)  # large, so that predictions differ
    images = mnist.test.images[:301]
    before = {name: value.clone() for name, value in net.eval().state_dict().items()}
    ours = predict(net, images, _hardware("compiled", 2))
    np.testing.assert_allclose(ours, predict(net, images), atol=1e-5, rtol=1e-4)
    assert ours.std(0).max() > 0.005
    torch.testing.assert_close(net.state_dict(), before, atol=0, rtol=0)
