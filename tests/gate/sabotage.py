"""Bundles that are whole, with right hashes and stored answers, and that read pictures wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from releases import seal

from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.runtime import Graph
from mnistnet.bundle.vectors import PictureVector, from_base64, parse_vectors, to_base64
from mnistnet.inference.decoding import to_rgba


def store_answers(bundle: Path, others: Iterable[NDArray[np.uint8]] = ()) -> Path:
    """Write what a bundle's graphs compute into its vectors.json, and seal it.

    Of the stored pictures and others (28, 28), those are kept for which picture.onnx computes what
    digit.onnx does: somebody who wants the bundle to pass would choose them.
    """
    manifest = read_manifest(seal(bundle))
    digit, picture = (Graph(bundle, name, manifest) for name in ("digit.onnx", "picture.onnx"))
    vectors = parse_vectors((bundle / "vectors.json").read_bytes(), bundle)
    (rows,) = digit.run(np.stack([from_base64(v.image) for v in vectors.images]))
    images = tuple(
        replace(v, probabilities=tuple(row.tolist()))
        for v, row in zip(vectors.images, rows, strict=True)
    )
    pictures = []
    others = [PictureVector((28, 28, 4), to_base64(to_rgba(i)), "", True) for i in others]
    for vector in (*vectors.pictures, *others):
        probabilities, seen, ink, *_ = picture.run(from_base64(vector.picture, vector.shape))
        if np.allclose(digit.run(seen[None])[0][0], probabilities, atol=1e-4):
            pictures.append(replace(vector, seen=to_base64(seen), ink=bool(ink)))
    content = replace(vectors, images=images, pictures=tuple(pictures)).to_bytes()
    (bundle / "vectors.json").write_bytes(content)
    return seal(bundle)


def edit_picture_graph(
    bundle: Path, edit: Callable[[onnx.GraphProto], None], others: Iterable[NDArray[np.uint8]]
) -> Path:
    """Change a bundle's picture.onnx, and all that has to agree with it."""
    model = onnx.load(bundle / "picture.onnx")
    edit(model.graph)
    (bundle / "picture.onnx").write_bytes(model.SerializeToString())
    return store_answers(bundle, others)


def lose_ink(graph: onnx.GraphProto, *, bright: bool) -> None:
    """Make whatever is brighter (or darker) than the mean as bright as the mean."""
    _use(graph, "picture", "clipped")
    graph.initializer.append(numpy_helper.from_array(np.array([0, 1]), "rows and columns"))
    for node in (
        helper.make_node("Cast", ["clipped_u8"], ["clipped"], to=onnx.TensorProto.UINT8),
        helper.make_node("Min" if bright else "Max", ["levels", "mean"], ["clipped_u8"]),
        helper.make_node("ReduceMean", ["levels", "rows and columns"], ["mean"]),
        helper.make_node("Cast", ["picture"], ["levels"], to=onnx.TensorProto.FLOAT),
    ):
        graph.node.insert(0, node)


def transpose(graph: onnx.GraphProto) -> None:
    """Swap rows and columns of the picture."""
    _use(graph, "picture", "transposed")
    node = helper.make_node("Transpose", ["picture"], ["transposed"], perm=[1, 0, 2])
    graph.node.insert(0, node)


def take_hypothesis(graph: onnx.GraphProto, *, number: int) -> None:
    """Take the hypothesis of a number, whatever the network is confident of."""
    (best,) = {node.input[1] for node in graph.node if set(node.output) & {"seen", "probabilities"}}
    _use(graph, best, "always")
    graph.initializer.append(numpy_helper.from_array(np.array(number), "always"))


def swap_digits(graph: onnx.GraphProto, *, a: int, b: int) -> None:
    """Exchange two digits in the network's last layer."""
    for constant in graph.initializer:
        if constant.dims and constant.dims[-1] == 10:
            values = numpy_helper.to_array(constant).copy()
            values[..., [a, b]] = values[..., [b, a]]
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def find_ink_everywhere(graph: onnx.GraphProto) -> None:
    """Find ink in every picture, even in blank paper."""
    for node in graph.node:
        node.output[:] = ["some" if name == "ink" else name for name in node.output]
    graph.node.append(helper.make_node("Equal", ["some", "some"], ["ink"]))


def find_several_everywhere(graph: onnx.GraphProto) -> None:
    """Find more than one digit in every picture."""
    for node in graph.node:
        node.output[:] = ["some" if name == "several" else name for name in node.output]
    graph.node.append(helper.make_node("Equal", ["some", "some"], ["several"]))


def lose_large_pictures(graph: onnx.GraphProto) -> None:
    """Make every picture black that has a side of more than 400 pixels."""
    _use(graph, "picture", "small")
    for name, value in {"most": np.array(400), "black": np.zeros((), np.uint8)}.items():
        graph.initializer.append(numpy_helper.from_array(value, name))
    for node in (
        helper.make_node("Where", ["is_large", "black", "picture"], ["small"]),
        helper.make_node("Greater", ["longest", "most"], ["is_large"]),
        helper.make_node("ReduceMax", ["sides"], ["longest"], keepdims=0),
        helper.make_node("Shape", ["picture"], ["sides"]),
    ):
        graph.node.insert(0, node)


def _use(graph: onnx.GraphProto, name: str, instead: str) -> None:
    """Have every node read another value in the place of one."""
    for node in graph.node:
        node.input[:] = [instead if value == name else value for value in node.input]


# What is done, and the rules of which each refuses it, champion or not. The first three
# show every rule refuse, and large pictures count; the others are slow tests.
PICTURES = {"pictures", "worst kind of picture"}
SABOTAGE = {
    "loses bright ink": (partial(lose_ink, bright=True), PICTURES | {"blank pages"}),
    "swaps 4 and 9": (partial(swap_digits, a=4, b=9), PICTURES | {"picture parity"}),
    "loses large pictures": (lose_large_pictures, PICTURES),
    "finds ink on blank pages": (find_ink_everywhere, {"blank pages"}),
    "finds several digits everywhere": (find_several_everywhere, PICTURES),
    "loses dark ink": (partial(lose_ink, bright=False), PICTURES | {"blank pages"}),
    "transposes": (transpose, PICTURES),
    "swaps 3 and 8": (partial(swap_digits, a=3, b=8), PICTURES | {"picture parity"}),
    **{f"takes hypothesis {k}": (partial(take_hypothesis, number=k), PICTURES) for k in range(8)},
}
