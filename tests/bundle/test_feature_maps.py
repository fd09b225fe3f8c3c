"""The maps of each layer are PyTorch's activations, and the last is what digit.onnx computes."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
import torch

from mnistnet.bundle.feature_maps import FeatureMaps, feature_maps_graph
from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.weights import read_weights
from mnistnet.inference.predictor import DEFAULT_BUNDLE, Predictor
from mnistnet.model.architecture import layers
from mnistnet.model.network import MnistNet, normalise


@pytest.fixture(scope="module")
def feature_maps() -> FeatureMaps:
    return FeatureMaps(DEFAULT_BUNDLE)


def test_each_layers_maps_are_pytorchs_activations(
    feature_maps: FeatureMaps, net: MnistNet, images: np.ndarray
) -> None:
    outputs: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        outputs.append(output[0])

    names = [layer.norm or layer.name for layer in layers()]
    hooks = [net.get_submodule(name).register_forward_hook(keep) for name in names]
    try:
        for image in images[:20]:
            outputs.clear()
            net(normalise(torch.tensor(image[None])))
            *expected, classes = outputs
            *found, last = feature_maps.of(image)
            for layer, maps in zip(found, expected, strict=True):
                assert layer.values.shape == maps.shape
                np.testing.assert_allclose(layer.values, maps.numpy(), atol=2e-5)
            np.testing.assert_allclose(last.values[:, 0, 0], classes.softmax(0), atol=1e-5)
    finally:
        for hook in hooks:
            hook.remove()


def test_the_last_maps_are_the_probabilities_of_digit_onnx(
    feature_maps: FeatureMaps, images: np.ndarray
) -> None:
    last = [feature_maps.of(image)[-1].values[:, 0, 0] for image in images]
    assert np.abs(np.stack(last) - Predictor().classify(images)).max() < 1e-5


def test_layers_are_numbered_and_named_as_the_table_of_layers_names_them(
    feature_maps: FeatureMaps,
) -> None:
    found = [layer.name for layer in feature_maps.of(np.zeros((28, 28), np.uint8))]
    assert found == [f"{number}. {layer}" for number, layer in enumerate(layers(), 1)]


def test_the_graph_is_valid_onnx_and_the_same_each_time() -> None:
    weights = read_weights(DEFAULT_BUNDLE, read_manifest(DEFAULT_BUNDLE))
    content = feature_maps_graph(weights)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert feature_maps_graph(weights) == content
    assert not re.search(rb"/(home|root|usr|tmp)/", content)
