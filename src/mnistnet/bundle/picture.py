"""`picture.onnx`: the hypotheses on a picture and the network that evaluates them, in one graph.

    model = picture_graph(digit_graph(weights))

`picture` uint8 (H, W) to `probabilities` float32 (10,), `seen` uint8 (28, 28) and `ink` bool ().
torch exports `mnistnet.picture.hypotheses`, and the digit graph is added. The exporter's paths,
stack traces and versions are not copied.
"""

from __future__ import annotations

import logging
import warnings
from functools import cache
from typing import TYPE_CHECKING

import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from mnistnet.bundle.graph import OPSET, GraphBuilder
from mnistnet.picture import CONFIDENCE_CAP, hypotheses

if TYPE_CHECKING:
    import onnx

PICTURE = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["H", "W"])
PROBABILITIES = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [10])
SEEN = helper.make_tensor_value_info("seen", TensorProto.UINT8, [28, 28])
INK = helper.make_tensor_value_info("ink", TensorProto.BOOL, [])
# Names inside the graph. They are bytes of every picture.onnx, so they stay as they are.
IMAGES, LOG_PRIOR, ALL_PROBABILITIES = "readings", "plausibility", "judged"


def picture_graph(digit: onnx.ModelProto) -> onnx.ModelProto:
    """Join the preparation and the digit graph, and keep the most probable hypothesis."""
    preparation = _exported_preparation().graph
    ends = [*preparation.input, *preparation.output]
    names = [PICTURE.name, IMAGES, LOG_PRIOR, INK.name]
    g = GraphBuilder()
    g.copy_nodes(preparation, {end.name: name for end, name in zip(ends, names, strict=True)})
    g.copy_nodes(digit.graph, {"images": IMAGES, "probabilities": ALL_PROBABILITIES})
    # As in `mnistnet.picture.prepare`: log prior plus the log odds of the network's confidence.
    confidence = g.add("ReduceMax", ALL_PROBABILITIES, [1], keepdims=0)
    confidence = g.add("Clip", confidence, 1e-6, CONFIDENCE_CAP)
    odds = g.add("Div", confidence, g.add("Sub", 1.0, confidence))
    score = g.add("Add", LOG_PRIOR, g.add("Log", odds))
    best = g.add("ArgMax", score, axis=0, keepdims=0)
    g.add("Gather", IMAGES, best, axis=0, output=SEEN.name)
    g.add("Gather", ALL_PROBABILITIES, best, axis=0, output=PROBABILITIES.name)
    return g.model("picture", [PICTURE], [PROBABILITIES, SEEN, INK])


class _Preparation(nn.Module):
    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = hypotheses(picture)
        return found.seen, found.log_prior, found.ink


@cache  # it takes seconds, and is the same for every network
def _exported_preparation() -> onnx.ModelProto:
    """Export the preparation of a picture of any height and width."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its warnings are about what no user can change
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                _Preparation(),
                (torch.zeros(40, 30, dtype=torch.uint8),),  # equal sides would become one size
                dynamic_shapes=(
                    {0: torch.export.Dim("H", min=3), 1: torch.export.Dim("W", min=3)},
                ),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    # The exporter silently makes a constant of a side that is converted to a Python number.
    sides = program.model_proto.graph.input[0].type.tensor_type.shape.dim
    assert all(side.dim_param for side in sides), "the preparation is for pictures of one size"
    return program.model_proto
