"""Export the hypotheses on a picture of any size as an ONNX graph.

model = export_hypotheses(opset=20)     # picture → seen, evidence, ink, several
"""

from __future__ import annotations

import logging
import warnings
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mnistnet.picture.colour import to_brightness
from mnistnet.picture.hypotheses import hypotheses

if TYPE_CHECKING:
    import onnx


class _Preparation(nn.Module):
    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return hypotheses(to_brightness(picture))


@cache  # it takes seconds, and is the same for every network
def export_hypotheses(opset: int) -> onnx.ModelProto:
    """Return the graph of `hypotheses`, as torch exports it, in an operator set of ONNX.

    Its input is uint8 (H, W, 4); its outputs are `seen` uint8 (N, 28, 28), `evidence`
    float32 (N, 11), `ink` bool (N,) and `several` bool (N,).
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its warnings are about what no user can change
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                _Preparation(),
                (torch.zeros(40, 30, 4, dtype=torch.uint8),),  # equal sides would become one size
                dynamic_shapes=(
                    {0: torch.export.Dim("H", min=3), 1: torch.export.Dim("W", min=3)},
                ),
                dynamo=True,
                external_data=False,
                opset_version=opset,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    # The exporter silently makes a constant of a side that is converted to a Python number.
    sides = program.model_proto.graph.input[0].type.tensor_type.shape.dim[:2]
    assert all(side.dim_param for side in sides), "the preparation is for pictures of one size"
    return program.model_proto
