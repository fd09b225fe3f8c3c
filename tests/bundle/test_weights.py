"""The weights of a bundle, read and computed without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.weights import read_weights, reference_probabilities
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.model.network import MnistNet, normalise

if TYPE_CHECKING:
    from mnistnet.data import DataSet


def test_the_reference_in_numpy_computes_what_pytorch_does_in_float64(mnist: DataSet) -> None:
    images = mnist.test.images[:20]
    weights = read_weights(DEFAULT_BUNDLE, read_manifest(DEFAULT_BUNDLE))
    with torch.inference_mode():
        x = normalise(torch.tensor(images)).double()
        expected = MnistNet.load(DEFAULT_BUNDLE).double().features(x)
        expected = MnistNet.load(DEFAULT_BUNDLE).double().classifier(expected).softmax(1)
    found = reference_probabilities(weights, images)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)  # normalised in float32


def test_the_reference_notices_one_weight_that_differs(mnist: DataSet) -> None:
    images = mnist.test.images[:20]
    weights = read_weights(DEFAULT_BUNDLE, read_manifest(DEFAULT_BUNDLE))
    before = reference_probabilities(weights, images)
    name = "features.9.weight"
    weights[name] = weights[name].copy()
    weights[name][0, 0, 0, 0] += 1
    assert abs(reference_probabilities(weights, images) - before).max() > 1e-4
