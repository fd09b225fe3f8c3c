"""The network is exactly the one that the README's table lays out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torchinfo import summary

from mnistnet.errors import WeightsError
from mnistnet.model.network import MEAN, STD, MnistNet, normalise

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.data import DataSet
    from mnistnet.training.train import TrainResult

CONVOLUTION = ("Conv2d", "GELU", "BatchNorm2d")
POOLING = ("MaxPool2d", "GELU", "BatchNorm2d")
TABLE: list[tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = [
    # layers, output of the last of them, parameters of those that have some
    (CONVOLUTION, (8, 26, 26), (80, 16)),
    (CONVOLUTION, (16, 24, 24), (1168, 32)),
    (POOLING, (16, 12, 12), (32,)),
    (CONVOLUTION, (32, 10, 10), (4640, 64)),
    (POOLING, (32, 5, 5), (64,)),
    (CONVOLUTION, (32, 3, 3), (9248, 64)),
    (("Conv2d", "Dropout2d", "Flatten"), (128,), (4128,)),
    (("Linear",), (10,), (1290,)),
]


def test_the_layers_are_those_of_the_table_row_by_row() -> None:
    info = summary(MnistNet(), (1, 1, 28, 28), verbose=0, device="cpu").summary_list
    leaves = [layer for layer in info if layer.is_leaf_layer]
    for layers, output, parameters in TABLE:
        row, leaves = leaves[: len(layers)], leaves[len(layers) :]
        assert tuple(layer.class_name for layer in row) == layers
        assert tuple(row[-1].output_size) == (1, *output)
        assert tuple(layer.num_params for layer in row if layer.num_params > 0) == parameters
    assert not leaves


def test_the_totals_are_those_of_the_table() -> None:
    totals = summary(MnistNet(), (1, 1, 28, 28), verbose=0, device="cpu")
    assert totals.total_params == totals.trainable_params == 20_826
    assert totals.total_mult_adds == pytest.approx(1.29e6, rel=0.01)


def test_two_sequentials_hold_the_features_and_the_classifier() -> None:
    children = list(MnistNet().children())
    assert [type(child) for child in children] == [nn.Sequential, nn.Sequential]
    assert isinstance(children[0][-1], nn.Flatten)
    assert [type(layer) for layer in children[1]] == [nn.Linear]


def test_the_output_is_log_probabilities_even_where_the_layers_run_in_bfloat16() -> None:
    net = MnistNet().eval()
    with torch.autocast("cpu", torch.bfloat16):
        y = net(torch.randn(5, 1, 28, 28))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.exp().sum(1), torch.ones(5))


def test_normalised_training_images_have_mean_0_and_deviation_1(mnist: DataSet) -> None:
    x = normalise(torch.tensor(mnist.train.images[:20_000]))
    assert x.shape == (20_000, 1, 28, 28)
    assert x.mean().abs() < 0.01
    assert (x.std() - 1).abs() < 0.01
    expected = (mnist.train.images[:1].astype(np.float64) / 255 - MEAN) / STD
    np.testing.assert_allclose(x[0].numpy(), expected, atol=1e-6)


def test_a_trained_network_loads_from_its_file_and_from_its_folder(fast_run: TrainResult) -> None:
    by_file = MnistNet.load(fast_run.run.weights_file)
    by_folder = MnistNet.load(str(fast_run.run.folder))
    x = torch.randn(3, 1, 28, 28)
    assert not by_file.training
    assert torch.equal(by_file(x), by_folder(x))


@pytest.mark.parametrize("content", [b"", b"random bytes " * 99, b"\xff" * 64])
def test_a_file_that_holds_no_weights_is_refused_in_one_line(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.safetensors: does not hold") as error:
        MnistNet.load(file)
    assert "\n" not in str(error.value)
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.safetensors: no such file"):
        MnistNet.load(tmp_path)
