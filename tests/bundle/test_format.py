"""The bundle's format, byte by byte, as docs/BUNDLE.md promises it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from mnistnet.bundle.digit import digit_graph
from mnistnet.bundle.graph import Graph, Tensor, to_bytes
from mnistnet.bundle.manifest import FILES, Fingerprint, Manifest, Origin, parse_manifest
from mnistnet.bundle.picture import INK, SEEN, picture_graph

MANIFEST_BYTES = b"""{
  "format_version": 1,
  "threshold": 0.5,
  "metrics": {
    "accuracy": 0.99
  },
  "recipe": {
    "name": "fast"
  },
  "data": {
    "train-images-idx3-ubyte": "%(a)s"
  },
  "source": {
    "commit": null,
    "dirty": true
  },
  "environment": {
    "threads": 2
  },
  "versions": {
    "torch": "2.13.0"
  },
  "files": {
    "README.md": {
      "size_bytes": 3,
      "sha256": "%(b)s"
    },
    "digit.onnx": {
      "size_bytes": 3,
      "sha256": "%(b)s"
    },
    "picture.onnx": {
      "size_bytes": 3,
      "sha256": "%(b)s"
    },
    "report.json": {
      "size_bytes": 3,
      "sha256": "%(b)s"
    },
    "vectors.json": {
      "size_bytes": 3,
      "sha256": "%(b)s"
    },
    "weights.safetensors": {
      "size_bytes": 3,
      "sha256": "%(b)s"
    }
  }
}
""" % {b"a": b"ab" * 32, b"b": hashlib.sha256(b"abc").hexdigest().encode()}

PAGE = (Path(__file__).parents[2] / "docs" / "BUNDLE.md").read_text(encoding="utf-8")


def test_a_manifest_is_these_bytes() -> None:
    manifest = Manifest(
        files={name: Fingerprint.of(b"abc") for name in FILES},
        metrics={"accuracy": 0.99},
        threshold=0.5,
        origin=Origin(
            recipe={"name": "fast"},
            data={"train-images-idx3-ubyte": "ab" * 32},
            source={"commit": None, "dirty": True},
            environment={"threads": 2},
            versions={"torch": "2.13.0"},
        ),
    )
    assert manifest.to_bytes() == MANIFEST_BYTES
    assert parse_manifest(MANIFEST_BYTES, "here") == manifest


def test_weights_lie_where_the_format_page_says(pristine: Path) -> None:
    content = (pristine / "weights.safetensors").read_bytes()
    (header_bytes,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + header_bytes])
    lines = []
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        lines.append(f"| `{name}` | {tensor['dtype']} | {tensor['shape']} | {start}–{end} |")
    assert "\n".join(lines) in PAGE
    assert len(content) == 8 + header_bytes + 84_440


@pytest.mark.parametrize("name", ["digit.onnx", "picture.onnx"])
def test_graphs_take_and_give_what_the_format_page_says(pristine: Path, name: str) -> None:
    graph = onnx.load(pristine / name).graph
    for end in (*graph.input, *graph.output):
        tensor = end.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = ", ".join(d.dim_param or str(d.dim_value) for d in tensor.shape.dim)
        assert f"| `{end.name}` | {dtype} | ({shape}) |" in PAGE


def test_digit_onnx_computes_in_the_order_that_the_format_page_says(pristine: Path) -> None:
    graph = onnx.load(pristine / "digit.onnx").graph
    assert " → ".join(node.op_type for node in graph.node) in " ".join(PAGE.split())


@pytest.mark.parametrize("name", ["digit.onnx", "picture.onnx"])
def test_graphs_are_valid_whole_and_say_nothing_of_their_making(pristine: Path, name: str) -> None:
    model = onnx.load(pristine / name, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (
        10,
        [("", 20)],
    )
    assert (model.producer_name, model.producer_version) == ("mnistnet", "")
    silent = [model, model.graph, *model.graph.node, *model.graph.initializer]
    silent += [*model.graph.input, *model.graph.output]
    assert not any(part.doc_string or part.metadata_props for part in silent)
    assert not any(node.name or node.domain for node in model.graph.node)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert not model.graph.value_info
    assert not model.functions
    content = (pristine / name).read_bytes()
    for trace in (b"torch", b".py", os.fsencode(Path.home()), os.fsencode(Path.cwd())):
        assert trace not in content


def test_a_network_of_simple_fractions_is_always_the_same_digit_onnx() -> None:
    from mnistnet.model.network import MnistNet

    weights = {
        name: (np.arange(tensor.numel()) % 7 + 1).reshape(tensor.shape) / np.float32(16)
        for name, tensor in MnistNet().state_dict().items()
    }
    model = to_bytes(digit_graph(weights, mean=0.25, std=0.5))
    # Another SHA-256 here means that every bundle's bytes change: is that meant?
    assert hashlib.sha256(model).hexdigest() == (
        "e0a56a59d7790121021ece1638fbc69264ca781d80beed82755f95bc44801f48"
    )


def test_a_preparation_for_one_size_only_is_refused() -> None:
    prepared = Graph()
    prepared.add("Identity", "picture", output="seen")
    fixed = prepared.model("p", [Tensor("picture", np.uint8, ("H", 28))], [SEEN, INK])
    with pytest.raises(ValueError, match="one height or width only"):
        picture_graph(fixed, fixed, enough=0.9)


EXPORT_ELSEWHERE = """
import sys
from pathlib import Path
from bundle_parts import CARD, METRICS, ORIGIN, REPORT
from mnistnet.bundle.export import export
from mnistnet.model.network import MnistNet
net = MnistNet.load(sys.argv[1])
export(net, Path("b"), origin=ORIGIN, metrics=METRICS, report=REPORT, card=CARD, threshold=0.5)
"""


def test_another_process_in_another_folder_exports_the_same_bytes(
    pristine: Path, tmp_path: Path
) -> None:
    environment = os.environ | {
        "OMP_NUM_THREADS": "2",
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    subprocess.run(
        [sys.executable, "-c", EXPORT_ELSEWHERE, str(pristine)],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    for name in (*FILES, "manifest.json"):
        assert (tmp_path / "b" / name).read_bytes() == (pristine / name).read_bytes(), name


def test_a_bundle_is_small(pristine: Path) -> None:
    assert sum(file.stat().st_size for file in pristine.iterdir()) < 1_000_000
