"""The network is the one of the architecture, normalises as documented, and loads its weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from releases import Python
from torchinfo import ModelStatistics, summary

from mnistnet.data import DataSet
from mnistnet.errors import WeightsError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.model.architecture import MEAN, STD, layer_table, layers
from mnistnet.model.network import MnistNet, normalise, summary_table

MODULES = {"conv": "Conv2d", "pool": "MaxPool2d", "linear": "Linear"}
NO_TORCH = """
import sys
sys.modules["torch"] = sys.modules["numpy"] = None
from mnistnet.cli import main
main(["train"])
"""


@pytest.fixture(scope="module")
def info() -> ModelStatistics:
    return summary(MnistNet(), (1, 1, 28, 28), verbose=0, device="cpu")


def test_pytorchs_module_has_the_layers_of_the_architecture(info: ModelStatistics) -> None:
    leaves = iter(leaf for leaf in info.summary_list if leaf.is_leaf_layer)
    for layer in layers():
        names = [
            MODULES[layer.kind],
            *str(layer).replace("BatchNorm", "BatchNorm2d").split("; ")[1:],
        ]
        first, *others = modules = list(itertools.islice(leaves, len(names)))
        assert [module.class_name for module in modules] == names
        assert (first.num_params, first.macs) == (layer.weights, layer.multiply_adds)
        assert sum(module.num_params for module in others) == layer.norm_parameters
        assert tuple(modules[-1].output_size) == (1, *layer.output)
    assert not list(leaves)


def test_the_table_of_layers_and_torchinfos_have_the_same_totals(info: ModelStatistics) -> None:
    total = layer_table().splitlines()[-1].split()
    assert total == ["total", "20,826", "1,291,882"]
    assert info.total_params == info.trainable_params == 20_826
    norms = sum(layer.norm_parameters for layer in layers())
    assert info.total_mult_adds == 1_291_882 + norms  # torchinfo counts a BatchNorm's parameters
    assert "Total mult-adds (M): 1.29\n" in summary_table()


def test_train_prints_the_table_of_layers_before_it_imports_torch_or_numpy(
    python: Python,
) -> None:
    assert python(NO_TORCH).stdout == layer_table() + "\n"


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


def test_a_trained_network_loads_from_its_file_and_from_its_folder() -> None:
    by_file = MnistNet.load(DEFAULT_BUNDLE / "weights.safetensors")
    by_folder = MnistNet.load(str(DEFAULT_BUNDLE))
    x = torch.randn(3, 1, 28, 28)
    assert not by_file.training
    assert torch.equal(by_file(x), by_folder(x))


@pytest.mark.parametrize("content", [b"", b"random bytes " * 99, b"\xff" * 64])
def test_a_file_that_holds_no_weights_is_refused_in_one_line(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"^.*weights\.safetensors: does not hold.*\Z"):
        MnistNet.load(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.safetensors: no such file"):
        MnistNet.load(tmp_path)
