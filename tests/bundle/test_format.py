"""The bundle's format, byte by byte, as docs/BUNDLE.md lays it down."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import onnx
import pytest

from mnistnet.bundle.documents import REPORT_FIELDS
from mnistnet.bundle.manifest import parse_manifest
from mnistnet.inference.predictor import DEFAULT_BUNDLE

PAGE = (Path(__file__).parents[2] / "docs" / "BUNDLE.md").read_text(encoding="utf-8")


def test_the_shipped_manifest_is_what_its_fields_are_written_as() -> None:
    content = (DEFAULT_BUNDLE / "manifest.json").read_bytes()
    assert parse_manifest(content, "here").to_bytes() == content
    fields = json.loads(content)
    assert all(f"| `{name}` | " in PAGE for name in fields)
    assert all(f"`{name}`" in PAGE for name in {*fields["metrics"], *REPORT_FIELDS})


def test_the_shipped_card_has_the_line_of_the_format_page() -> None:
    lines = (DEFAULT_BUNDLE / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if "Accuracy" in line)
    assert line in PAGE.splitlines()


def test_weights_lie_at_the_offsets_of_the_format_page() -> None:
    content = (DEFAULT_BUNDLE / "weights.safetensors").read_bytes()
    (header_bytes,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + header_bytes])
    lines = []
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        lines.append(f"| `{name}` | {tensor['dtype']} | {tensor['shape']} | {start}–{end} |")
    assert "\n".join(lines) in PAGE
    assert len(content) == 8 + header_bytes + 84_440


@pytest.mark.parametrize("name", ["digit.onnx", "picture.onnx"])
def test_graphs_have_the_inputs_and_outputs_of_the_format_page(name: str) -> None:
    graph = onnx.load(DEFAULT_BUNDLE / name).graph
    for end in (*graph.input, *graph.output):
        tensor = end.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = ", ".join(d.dim_param or str(d.dim_value) for d in tensor.shape.dim)
        assert f"| `{end.name}` | {dtype} | ({shape}) |" in PAGE


def test_digit_onnx_has_the_operators_of_the_format_page_in_their_order() -> None:
    graph = onnx.load(DEFAULT_BUNDLE / "digit.onnx").graph
    assert " → ".join(node.op_type for node in graph.node) in " ".join(PAGE.split())


@pytest.mark.parametrize("name", ["digit.onnx", "picture.onnx"])
def test_graphs_are_valid_and_hold_nothing_of_how_they_were_made(name: str) -> None:
    model = onnx.load(DEFAULT_BUNDLE / name, load_external_data=False)
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
    content = (DEFAULT_BUNDLE / name).read_bytes()
    for trace in (b"torch", b".py", os.fsencode(Path.home()), os.fsencode(Path.cwd())):
        assert trace not in content
