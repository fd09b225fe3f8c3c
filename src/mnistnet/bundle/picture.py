"""`picture.onnx`: the picture's readings and the network that judges them, joined into one graph.

    model = picture_graph(prepared, digit_graph(weights, mean=MEAN, std=STD), enough=ENOUGH)

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


def picture_graph(
    prepared: onnx.ModelProto, digit: onnx.ModelProto, *, enough: float
) -> onnx.ModelProto:
    """Let the digit graph judge how a picture may be read, and keep the best reading.

    Args:
        prepared: one input, uint8 (H, W); outputs uint8 (N, 28, 28), float32 (N,) and bool ():
            `mnistnet.picture.Readings`.
        digit: `images` uint8 (N, 28, 28) to `probabilities` float32 (N, 10).
        enough: the confidence beyond which more says no more.

    Raises:
        ValueError: the preparation is for pictures of one size only. Torch's exporter takes a
            size for a constant, silently, where it is made a Python number.
    """
    sides = prepared.graph.input[0].type.tensor_type.shape.dim
    if not all(side.dim_param for side in sides):
        raise ValueError("the preparation was exported for one height or width only")
    ends = [*prepared.graph.input, *prepared.graph.output]
    names = [PICTURE.name, "readings", "plausibility", INK.name]
    g = Graph()
    g.take_over(prepared.graph, {end.name: name for end, name in zip(ends, names, strict=True)})
    g.take_over(digit.graph, {"images": "readings", "probabilities": "judged"})
    best = _best(g, "judged", "plausibility", enough)
    g.add("Gather", "readings", best, axis=0, output=SEEN.name)
    g.add("Gather", "judged", best, axis=0, output=PROBABILITIES.name)
    return g.model("picture", [PICTURE], [PROBABILITIES, SEEN, INK])


def _best(g: Graph, probabilities: str, plausibility: str, enough: float) -> str:
    """Choose a reading as `mnistnet.picture.prepare` does: by log odds of the network's answer."""
    confidence = g.add("ReduceMax", probabilities, g.constant([1], np.int64), keepdims=0)
    confidence = g.add("Clip", confidence, g.constant(1e-6), g.constant(enough))
    odds = g.add("Div", confidence, g.add("Sub", g.constant(1), confidence))
    score = g.add("Add", plausibility, g.add("Log", odds))
    return g.add("ArgMax", score, axis=0, keepdims=0)
