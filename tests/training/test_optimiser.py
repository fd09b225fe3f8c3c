"""SOAP takes the same steps in C++ as in torch."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from mnistnet.model.network import MnistNet
from mnistnet.training.compiled import compiled_step
from mnistnet.training.optimiser import Soap
from mnistnet.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn


def _take_steps(optimiser: Soap, net: nn.Module, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(steps):
            for parameter in net.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step(0.01, pool)


@pytest.mark.skipif(compiled_step("float32") is None, reason="no C++ compiler was found here")
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("0/mean", torch.zeros(1, 1)),
        ("4/right_basis", torch.zeros(288, 1)),
        ("3/left", torch.zeros(32, 32, dtype=torch.float64)),
        ("2/square", None),
        ("steps", None),
    ],
)
def test_a_state_of_another_shape_is_refused_as_a_whole(
    name: str, value: torch.Tensor | None
) -> None:
    net = MnistNet()
    trained, fresh = Soap(net, Recipe(), None), Soap(net, Recipe(), None)
    _take_steps(trained, net, 1, seed=0)
    state = trained.state_dict()
    if value is None:
        del state[name]
    else:
        state[name] = value
    with pytest.raises((KeyError, ValueError)):
        fresh.load_state_dict(state)
    assert fresh.steps == 0
    assert not any(fresh.states)
