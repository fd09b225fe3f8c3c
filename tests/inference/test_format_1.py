"""A bundle of format 1, whose picture graph reads grey levels, is still verified and used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from releases import seal

from mnistnet import Predictor
from mnistnet.bundle.vectors import from_base64, to_base64
from mnistnet.bundle.verify import verify
from mnistnet.serving.triton import write_repository


@pytest.fixture
def old(bundle: Path) -> Path:
    """Return the shipped bundle in format 1: its graph reads grey levels as opaque colours."""
    model = onnx.load(bundle / "picture.onnx")
    graph = model.graph
    constants = {"channel": np.array([2]), "opaque": np.array(255, np.uint8)}
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    for place, node in enumerate(
        [
            helper.make_node("Unsqueeze", ["picture", "channel"], ["grey"]),
            helper.make_node("Max", ["grey", "opaque"], ["opacity"]),
            helper.make_node("Concat", ["grey", "grey", "grey", "opacity"], ["colours"], axis=2),
        ]
    ):
        graph.node.insert(place, node)
    for node in list(graph.node)[3:]:
        node.input[:] = ["colours" if name == "picture" else name for name in node.input]
    graph.input[0].CopyFrom(helper.make_tensor_value_info("picture", TensorProto.UINT8, ["H", "W"]))
    del graph.output[3:]
    (bundle / "picture.onnx").write_bytes(model.SerializeToString())

    vectors = json.loads((bundle / "vectors.json").read_text(encoding="utf-8"))
    vectors["pictures"] = vectors["pictures"][:3]  # the grey ones
    for picture in vectors["pictures"]:
        grey = from_base64(picture["picture"], tuple(picture["shape"]))[..., 0]
        picture |= {"shape": grey.shape, "picture": to_base64(grey)}
    (bundle / "vectors.json").write_text(json.dumps(vectors), encoding="utf-8")
    seal(bundle, format_version=1)
    return bundle


def test_a_bundle_of_format_1_is_verified_and_reads_what_it_always_read(
    old: Path, predictor: Predictor, four: Image.Image
) -> None:
    assert verify(old).format_version == 1
    new, before = predictor.predict(four), Predictor(old).predict(four)
    assert (before.digit, before.sure, before.hypothesis) == (4, True, None)
    np.testing.assert_array_equal(before.seen, new.seen)
    clear = Image.new("RGBA", four.size, "white")
    clear.putalpha(four.point(lambda level: 255 - level))
    assert Predictor(old).predict(clear).digit is None  # white ink is laid on white
    assert predictor.predict(clear).digit == 4


def test_a_model_repository_of_it_takes_grey_levels(old: Path, tmp_path: Path) -> None:
    write_repository(old, tmp_path / "models")
    config = (tmp_path / "models" / "picture" / "config.pbtxt").read_text(encoding="utf-8")
    assert '{ name: "picture", data_type: TYPE_UINT8, dims: [ -1, -1 ] }' in config
    assert "several" not in config
