"""Both engines, on any number of threads, compute what torch computes."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mnistnet.errors import RecipeError
from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.compiled import compiled_step
from mnistnet.training.distillation import smooth_labels
from mnistnet.training.hardware import Hardware, resolve
from mnistnet.training.optimiser import Soap
from mnistnet.training.prediction import predict
from mnistnet.training.recipe import Recipe
from mnistnet.training.replicas import replicating

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from mnistnet.data import DataSet


NEEDS_COMPILER = pytest.mark.skipif(
    compiled_step("float32") is None, reason="no C++ compiler was found here"
)
NEEDS_BFLOAT16 = pytest.mark.skipif(
    compiled_step("bfloat16") is None, reason="this processor does not multiply bfloat16"
)


def _hardware(engine: str, threads: int, precision: str = "float32") -> Hardware:
    return Hardware(torch.device("cpu"), engine, precision, threads)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradients_and_statistics_are_the_means_over_the_threads_of_torchs_float64(
    mnist: DataSet, engine: str, threads: int
) -> None:
    """Each thread normalises by its own share's statistics.

    Negative BatchNorm scales swap maxima and minima, which pooling must follow.
    """
    images = torch.tensor(mnist.train.images[: 8 * threads])
    labels = torch.tensor(mnist.train.labels[: 8 * threads]).long()
    targets = smooth_labels(labels, 0.1)
    torch.manual_seed(0)
    net = MnistNet()
    for parameter in net.parameters():
        if parameter.ndim == 1:
            sign = torch.randint(0, 2, parameter.shape) * 2 - 1
            parameter.data = sign * (0.5 + torch.rand(parameter.shape))
    shares = [copy.deepcopy(net).double().train() for _ in range(threads)]
    threads_before = torch.get_num_threads()
    with replicating(net, _hardware(engine, threads)) as replicas:
        result = replicas.gradients(images, targets)
        replicas.average_statistics()
    assert torch.get_num_threads() == threads_before
    loss, correct = 0.0, 0
    for one, share in zip(shares, torch.arange(8 * threads).chunk(threads), strict=True):
        log_probabilities = one(normalise(images[share]).double())
        share_loss = F.cross_entropy(log_probabilities, targets[share].double()) / threads
        torch.autograd.backward(share_loss)
        loss += share_loss.item()
        correct += int((log_probabilities.argmax(1) == labels[share]).sum())
    assert (result.loss, result.correct) == (pytest.approx(loss, rel=1e-5), correct)
    parameters = (one.parameters() for one in shares)
    for (name, ours), *theirs in zip(net.named_parameters(), *parameters, strict=True):
        gradient = torch.stack([parameter.grad for parameter in theirs]).sum(0)
        # Where two of four pooled values are almost equal, rounding picks one.
        assert (ours.grad - gradient).norm() < 0.01 * gradient.norm() + 1e-5, name
    buffers = (one.buffers() for one in shares)
    for (name, ours), *theirs in zip(net.named_buffers(), *buffers, strict=True):
        mean = torch.stack(theirs).double().mean(0)
        torch.testing.assert_close(ours.double(), mean, atol=1e-5, rtol=1e-4, msg=name)


@NEEDS_BFLOAT16
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_bfloat16_the_compiled_step_is_nearer_to_float32_than_torchs_layers_are(
    mnist: DataSet, seed: int
) -> None:
    torch.manual_seed(seed)
    net, images = MnistNet(), torch.tensor(mnist.train.images[:64])
    targets = smooth_labels(torch.tensor(mnist.train.labels[:64]).long(), 0.1)

    def gradients(engine: str, precision: str) -> Tensor:
        one = copy.deepcopy(net)
        with replicating(one, _hardware(engine, 1, precision)) as replicas:
            replicas.gradients(images, targets)
        return torch.cat([parameter.grad.flatten() for parameter in one.parameters()])

    exact = gradients("torch", "float32")
    error = (gradients("compiled", "bfloat16") - exact).norm()
    assert 0 < error < (gradients("torch", "bfloat16") - exact).norm()


def test_a_batch_may_be_smaller_than_there_are_threads(mnist: DataSet, engine: str) -> None:
    with replicating(MnistNet(), _hardware(engine, 4)) as replicas:
        for size in (2, 9, 1):
            images = torch.tensor(mnist.train.images[:size])
            labels = torch.tensor(mnist.train.labels[:size]).long()
            result = replicas.gradients(images, smooth_labels(labels, 0.0))
            assert 0 <= result.correct <= size


def test_auto_takes_the_compiled_step_only_where_it_supports_the_recipe() -> None:
    auto = Recipe(device="cpu")
    assert resolve(auto).engine == ("compiled" if compiled_step("float32") else "torch")
    for changes in ({"dropout": 0.1}, {"engine": "torch"}):
        assert resolve(auto.replacing(**changes)).engine == "torch"
    with pytest.raises(RecipeError, match="engine is compiled, but it has no dropout"):
        resolve(auto.replacing(engine="compiled", dropout=0.1))


@NEEDS_COMPILER
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_the_compiled_step_uses_the_precision_that_is_asked_for(precision: str) -> None:
    native = "bfloat16" if compiled_step("bfloat16") else "float32"
    hardware = resolve(Recipe(device="cpu", precision=precision))
    assert hardware.precision == (native if precision == "auto" else precision)
    assert (hardware.engine == "compiled") == (hardware.precision in ("float32", native))


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


COMPILE_TWICE = """
from mnistnet.training.compiled import compiled_step
for _ in range(2):
    assert compiled_step("float32")
    compiled_step.cache_clear()  # so that it is looked for again, as the next run does
"""


def _compile_twice(folder: Path, cache: Path) -> str:
    """Run COMPILE_TWICE with a cache and folder/tmp for temporary files; return its messages."""
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    compiler = folder / "compiler"  # without optimisation, which takes long
    real = next(filter(None, map(shutil.which, names)))
    compiler.write_text(f'#!/bin/sh\n"{real}" "$@" -O0\n', encoding="utf-8")
    compiler.chmod(0o755)
    (folder / "tmp").mkdir()
    places = dict.fromkeys(("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"), str(cache))
    places |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
    done = subprocess.run(
        [sys.executable, "-c", COMPILE_TWICE],
        env={**os.environ, **places, "CXX": str(compiler)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stderr


@NEEDS_COMPILER
def test_the_step_is_compiled_once_and_says_so(tmp_path: Path) -> None:
    messages = _compile_twice(tmp_path, tmp_path)
    assert len(list(tmp_path.rglob("step-*.so"))) == 1
    assert re.fullmatch("compiling the training step in float32, once: .*\n", messages)


@NEEDS_COMPILER
def test_without_a_cache_that_can_be_written_compiling_leaves_nothing(tmp_path: Path) -> None:
    _compile_twice(tmp_path, tmp_path / "compiler")  # a file, in which no folder can be made
    assert {path.name for path in tmp_path.rglob("*")} == {"compiler", "tmp"}


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


def _take_steps(optimiser: Soap, net: nn.Module, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(steps):
            for parameter in net.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step(0.01, pool)


@NEEDS_COMPILER
def test_the_compiled_optimiser_takes_the_steps_of_torchs_operations() -> None:
    recipe = Recipe(weight_decay=0.1)
    net = MnistNet()
    before = Soap(net, recipe, None)
    _take_steps(before, net, 25, seed=0)
    after = []
    for compiled in (None, compiled_step("float32")):
        one = copy.deepcopy(net)
        optimiser = Soap(one, recipe, compiled)
        optimiser.load_state_dict(copy.deepcopy(before.state_dict()))
        _take_steps(optimiser, one, 3, seed=1)
        after.append((dict(one.named_parameters()), optimiser.state_dict()))
    assert any(not torch.equal(p, after[0][0][name]) for name, p in net.named_parameters())
    for ours, theirs in zip(*after, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
