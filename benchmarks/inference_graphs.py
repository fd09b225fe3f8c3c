"""The graphs that `benchmarks/inference.py` compares: `for name, model in graphs(net, images)`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from mnistnet.bundle.digit import (
    Affine,
    batch_norms,
    convolutions,
    digit_graph,
    merged_head,
)
from mnistnet.bundle.graph import GraphBuilder
from mnistnet.bundle.graph_file import OPSET
from mnistnet.model.architecture import MEAN, STD
from mnistnet.model.network import MnistNet, normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from onnx import ModelProto

    Images = NDArray[np.uint8]  # (N, 28, 28)

PLAIN = "plain export"
OURS = "digit.onnx: + rows in pairs"
CEILING = "ceiling: convolutions alone"


def graphs(net: MnistNet, calibration: Images) -> Iterator[tuple[str, ModelProto]]:
    """Yield each graph with its name: each rewriting on top of the one before, then variants."""
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    ours = digit_graph(weights)
    yield PLAIN, _plain(net)
    yield "BatchNorm folded forward", _rewritten(weights)
    yield "+ pooled before BatchNorm", _rewritten(weights, pool_first=True)
    yield "+ last two layers merged", _rewritten(weights, pool_first=True, merge=True)
    yield OURS, ours
    yield CEILING, _without(_rewritten(weights), "Gelu", "BatchNormalization")
    yield "digit.onnx, GELU as Erf", _with_erf(ours)
    yield "digit.onnx without GELU", _without(ours, "Gelu")
    yield "digit.onnx, int8 convolutions", _quantized(ours, calibration, ["Conv"])
    yield "digit.onnx, int8", _quantized(ours, calibration, None)


def _plain(net: MnistNet) -> ModelProto:
    """Export with torch alone."""

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            probabilities: torch.Tensor = self.net(normalise(images)).exp()
            return probabilities

    program = torch.onnx.export(
        Reader().eval(),
        (torch.zeros(2, 28, 28, dtype=torch.uint8),),
        dynamic_shapes=({0: torch.export.Dim("N")},),
        input_names=["images"],
        dynamo=True,
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _rewritten(
    weights: dict[str, NDArray[Any]], *, pool_first: bool = False, merge: bool = False
) -> ModelProto:
    """Return the graph of `digit_graph` without some of its rewritings."""
    conv1, conv2, conv3, conv4, conv5 = convolutions(weights)
    norm1, norm2, norm3, norm4, norm5, norm6 = batch_norms(weights)
    pixels = Affine(np.array([1 / (255 * STD)]), np.array([-MEAN / STD]))
    g = GraphBuilder()

    def pool(x: str, norm: Affine) -> str:
        if pool_first and norm.keeps_order:
            return g.affine(g.max_pool(x, 2, 2), *norm)
        return g.max_pool(g.affine(x, *norm), 2, 2)

    x = g.add("Reshape", "images", [-1, 1, 28, 28])
    x = g.add("Cast", x, to=TensorProto.FLOAT)
    x = g.add("Gelu", g.add("Conv", x, *conv1.after(pixels)))
    x = pool(g.add("Gelu", g.add("Conv", x, *conv2.after(norm1))), norm2)
    x = g.add("Gelu", g.add("Conv", g.add("Gelu", x), *conv3.after(norm3)))
    x = g.add("Gelu", pool(x, norm4))
    x = g.add("Gelu", g.add("Conv", x, *conv4.after(norm5)))
    if merge:
        weight, bias = merged_head(conv5.after(norm6), weights)
    else:
        x = g.add("Conv", x, *conv5.after(norm6))
        weight, bias = weights["classifier.0.weight"].T, weights["classifier.0.bias"]
    x = g.add("Gemm", g.add("Reshape", x, [-1, len(weight)]), weight, bias)
    g.add("Softmax", x, axis=1, output="probabilities")
    return g.model("digit.onnx")


def _without(model: ModelProto, *operators: str) -> ModelProto:
    """Remove nodes of some operators: their input takes the place of their output."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    instead: dict[str, str] = {}
    for node in list(model.graph.node):
        node.input[:] = [instead.get(name, name) for name in node.input]
        if node.op_type in operators:
            instead[node.output[0]] = node.input[0]
            model.graph.node.remove(node)
    return model


def _with_erf(model: ModelProto) -> ModelProto:
    """Write GELU as x · (1 + erf(x · √½)) · ½, as was necessary before operator set 20."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    constants = {"one": 1.0, "half": 0.5, "root": 0.5**0.5}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in constants.items()
    )
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        x, y = node.input[0], node.output[0]
        chain = [
            helper.make_node("Mul", [x, "root"], [f"{y}_scaled"]),
            helper.make_node("Erf", [f"{y}_scaled"], [f"{y}_erf"]),
            helper.make_node("Add", [f"{y}_erf", "one"], [f"{y}_share"]),
            helper.make_node("Mul", [x, f"{y}_share"], [f"{y}_double"]),
            helper.make_node("Mul", [f"{y}_double", "half"], [y]),
        ]
        nodes += chain if node.op_type == "Gelu" else [node]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _quantized(model: ModelProto, calibration: Images, operators: list[str] | None) -> ModelProto:
    """Quantize statically (QDQ): activations to uint8, weights to int8 by channel.

    Args:
        model: what to quantize.
        calibration: images to find the ranges of the activations with.
        operators: which to quantize; None means all that ONNX Runtime can.
    """

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter(np.array_split(calibration, 10))

        def get_next(self) -> dict[str, Images] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        quantize_static(
            path,
            path,
            Batches(),
            op_types_to_quantize=operators,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)
