"""`picture.onnx`: the hypotheses on a picture and the network that evaluates them, in one graph.

    model = picture_graph(digit_graph(weights))

The preparation is exported by `mnistnet.picture.export`, and the digit graph is added. Paths, stack
traces and versions of the exporter are not copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnistnet.bundle.graph import GraphBuilder
from mnistnet.bundle.graph_file import OPSET
from mnistnet.picture import CONFIDENCE_CAP
from mnistnet.picture.export import export_hypotheses

if TYPE_CHECKING:
    import onnx

# Names inside the graph. They are bytes of every picture.onnx, so they stay as they are.
IMAGES, LOG_PRIOR, ALL_PROBABILITIES = "readings", "plausibility", "judged"


def picture_graph(digit: onnx.ModelProto) -> onnx.ModelProto:
    """Join the preparation and the digit graph, and keep the most probable hypothesis."""
    preparation = export_hypotheses(OPSET).graph
    ends = [*preparation.input, *preparation.output]
    names = ["picture", IMAGES, LOG_PRIOR, "ink", "several"]
    g = GraphBuilder()
    g.copy_nodes(preparation, {end.name: name for end, name in zip(ends, names, strict=True)})
    g.copy_nodes(digit.graph, {"images": IMAGES, "probabilities": ALL_PROBABILITIES})
    # As in `mnistnet.picture.prepare`: log prior plus the log odds of the network's confidence.
    confidence = g.add("ReduceMax", ALL_PROBABILITIES, [1], keepdims=0)
    confidence = g.add("Clip", confidence, 1e-6, CONFIDENCE_CAP)
    odds = g.add("Div", confidence, g.add("Sub", 1.0, confidence))
    score = g.add("Add", LOG_PRIOR, g.add("Log", odds))
    best = g.add("ArgMax", score, axis=0, keepdims=0, output="hypothesis")
    g.add("Gather", IMAGES, best, axis=0, output="seen")
    g.add("Gather", ALL_PROBABILITIES, best, axis=0, output="probabilities")
    return g.model("picture.onnx")
