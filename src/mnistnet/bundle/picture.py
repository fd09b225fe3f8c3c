"""`picture.onnx`: the picture's preparation and the network, joined into one graph.

    model = picture_graph(prepared, digit_graph(weights, mean=MEAN, std=STD))

`picture` uint8 (H, W) to `probabilities` float32 (10,), `seen` uint8 (28, 28) and `ink` bool ().
`prepared` is what torch's exporter makes of the preparation. The exporter writes down where and
how it worked: paths, stack traces, versions. Nothing of that is taken over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnistnet.bundle.graph import Graph, Tensor

if TYPE_CHECKING:
    import onnx

PICTURE = Tensor("picture", np.uint8, ("H", "W"))
PROBABILITIES = Tensor("probabilities", np.float32, (10,))
SEEN = Tensor("seen", np.uint8, (28, 28))
INK = Tensor("ink", np.bool_, ())


def picture_graph(prepared: onnx.ModelProto, digit: onnx.ModelProto) -> onnx.ModelProto:
    """Let the digit graph read what the preparation has made of a picture.

    Args:
        prepared: one input, uint8 (H, W); two outputs, uint8 (28, 28) and bool ().
        digit: `images` uint8 (N, 28, 28) to `probabilities` float32 (N, 10). It takes the one
            image as it is, because the first thing it does is to give all images a channel.

    Raises:
        ValueError: the preparation is for pictures of one size only. Torch's exporter takes a
            size for a constant, silently, where it is made a Python number.
    """
    sides = prepared.graph.input[0].type.tensor_type.shape.dim
    if not all(side.dim_param for side in sides):
        raise ValueError("the preparation was exported for one height or width only")
    ends = [*prepared.graph.input, *prepared.graph.output]
    names = [PICTURE.name, SEEN.name, INK.name]
    g = Graph()
    g.take_over(prepared.graph, {end.name: name for end, name in zip(ends, names, strict=True)})
    g.take_over(digit.graph, {"images": SEEN.name, "probabilities": "batch_of_one"})
    g.reshape("batch_of_one", 10, output=PROBABILITIES.name)
    return g.model("picture", [PICTURE], [PROBABILITIES, SEEN, INK])
