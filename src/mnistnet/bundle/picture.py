"""`picture.onnx`: the hypotheses on a picture and the network that evaluates them, in one graph.

    model = picture_graph(digit_graph(weights))

The preparation is exported by `mnistnet.picture.export`, and the digit graph is added. Paths, stack
traces and versions of the exporter are not copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnistnet.bundle.graph import GraphBuilder
from mnistnet.bundle.graph_file import OPSET
from mnistnet.picture import CONFIDENCE_CAP, CONFIDENCE_WEIGHT, EVIDENCE_WEIGHTS, LOG_PRIORS
from mnistnet.picture.export import export_hypotheses

if TYPE_CHECKING:
    import onnx

# Names inside the graph. They are bytes of every picture.onnx, so they stay as they are.
IMAGES, EVIDENCE, ALL_PROBABILITIES = "readings", "evidence", "judged"
IS_INK, IS_SEVERAL = "inked", "more"


def picture_graph(digit: onnx.ModelProto) -> onnx.ModelProto:
    """Join the preparation and the digit graph, and keep the most probable hypothesis."""
    preparation = export_hypotheses(OPSET).graph
    ends = [*preparation.input, *preparation.output]
    names = ["picture", IMAGES, EVIDENCE, IS_INK, IS_SEVERAL]
    g = GraphBuilder()
    g.copy_nodes(preparation, {end.name: name for end, name in zip(ends, names, strict=True)})
    g.copy_nodes(digit.graph, {"images": IMAGES, "probabilities": ALL_PROBABILITIES})
    # As in `mnistnet.picture.prepare`: the posterior probability of each hypothesis, then the most
    # probable digit, and the hypothesis that speaks most for it.
    confidence = g.add("ReduceMax", ALL_PROBABILITIES, [1], keepdims=0)
    confidence = g.add("Clip", confidence, 1e-6, CONFIDENCE_CAP)
    odds = g.add("Log", g.add("Div", confidence, g.add("Sub", 1.0, confidence)))
    log_prior = g.add("Add", g.add("MatMul", EVIDENCE, EVIDENCE_WEIGHTS), LOG_PRIORS)
    score = g.add("Add", log_prior, g.add("Mul", odds, CONFIDENCE_WEIGHT))
    posterior = g.add("Unsqueeze", g.add("Softmax", score, axis=0), [1])
    joint = g.add("Mul", posterior, ALL_PROBABILITIES)  # (N, 10)
    most = g.add("ArgMax", g.add("ReduceSum", joint, [0], keepdims=0), axis=0, keepdims=0)
    support = g.add("Gather", joint, most, axis=1)
    best = g.add("ArgMax", support, axis=0, keepdims=0, output="hypothesis")
    g.add("Gather", IS_INK, best, axis=0, output="ink")
    g.add("Gather", IS_SEVERAL, best, axis=0, output="several")
    g.add("Gather", IMAGES, best, axis=0, output="seen")
    g.add("Gather", ALL_PROBABILITIES, best, axis=0, output="probabilities")
    return g.model("picture.onnx")
