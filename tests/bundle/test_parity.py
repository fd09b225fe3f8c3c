"""digit.onnx, and the reference in NumPy, compute what the PyTorch network computes."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from mnistnet.bundle.digit import digit_graph
from mnistnet.bundle.graph import to_bytes
from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.weights import read_weights, reference_probabilities
from mnistnet.data import DataSet
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.model.network import MnistNet, normalise

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


def by_torch(net: MnistNet, images: Images) -> Probabilities:
    with torch.inference_mode():
        batches = torch.tensor(images).split(500)
        return torch.cat([net(normalise(batch)).exp() for batch in batches]).numpy()


def by_onnx(model: bytes, images: Images) -> Probabilities:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    batches = np.array_split(images, max(1, len(images) // 500))
    return np.concatenate([session.run(None, {"images": batch})[0] for batch in batches])


def test_all_predictions_on_the_test_set_are_pytorchs(net: MnistNet, mnist: DataSet) -> None:
    expected = by_torch(net, mnist.test.images)
    found = by_onnx((DEFAULT_BUNDLE / "digit.onnx").read_bytes(), mnist.test.images)
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("factor", [-1, 0])
def test_batch_norms_with_negative_scales_or_scales_of_zero_are_rewritten_correctly(
    net: MnistNet, mnist: DataSet, factor: int
) -> None:
    net = copy.deepcopy(net)
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.weight.data[::2] *= factor
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    images = mnist.test.images[:1000]
    expected, found = by_torch(net, images), by_onnx(to_bytes(digit_graph(weights)), images)
    assert np.abs(found - expected).max() < 1e-5


def test_the_reference_in_numpy_computes_what_pytorch_does_in_float64(mnist: DataSet) -> None:
    images = mnist.test.images[:20]
    weights = read_weights(DEFAULT_BUNDLE, read_manifest(DEFAULT_BUNDLE))
    with torch.inference_mode():
        x = normalise(torch.tensor(images)).double()
        expected = MnistNet.load(DEFAULT_BUNDLE).double().features(x)
        expected = MnistNet.load(DEFAULT_BUNDLE).double().classifier(expected).softmax(1)
    found = reference_probabilities(weights, images)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)  # normalised in float32


@pytest.mark.filterwarnings("error")
def test_weights_that_lead_to_no_number_are_nan_without_a_warning(mnist: DataSet) -> None:
    weights = dict(read_weights(DEFAULT_BUNDLE, read_manifest(DEFAULT_BUNDLE)))
    weights["features.2.running_var"] = -weights["features.2.running_var"]
    assert np.isnan(reference_probabilities(weights, mnist.test.images[:2])).all()
