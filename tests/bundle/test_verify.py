"""`verify` names the first thing that is wrong with a bundle."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from releases import seal

from mnistnet.bundle.manifest import EXTRA_FILES, FILES, read_manifest
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError
from mnistnet.inference.predictor import DEFAULT_BUNDLE


def refuses(bundle: Path, words: str) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        verify(bundle)
    assert "\n" not in str(caught.value)
    assert str(bundle) in str(caught.value)


def test_the_shipped_bundle_passes_with_other_files_of_the_format_next_to_it(bundle: Path) -> None:
    for name in EXTRA_FILES:
        (bundle / name).write_bytes(b"anything")
    assert verify(bundle) == read_manifest(DEFAULT_BUNDLE)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_shortened_lengthened_or_missing_file_is_found(bundle: Path, name: str) -> None:
    content = (bundle / name).read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged, words in (
        (flipped, "has another SHA-256"),
        (content[:-1], f"is smaller than {len(content):,} bytes"),
        (content + b" ", f"is larger than {len(content):,} bytes"),
    ):
        (bundle / name).write_bytes(damaged)
        refuses(bundle, f"{name}: {words}")
    (bundle / name).unlink()
    refuses(bundle, f"{name}: is missing")


def test_what_desktops_and_network_drives_leave_is_ignored(bundle: Path) -> None:
    for name in (".DS_Store", "._digit.onnx", "ehthumbs.db", ".directory", ".nfs0000a1"):
        (bundle / name).write_bytes(b"view")
    (bundle / "@eaDir").mkdir()
    assert verify(bundle) == read_manifest(DEFAULT_BUNDLE)


def test_a_file_or_folder_that_is_not_of_the_format_is_found(bundle: Path) -> None:
    (bundle / "extra.onnx").write_bytes(b"")
    refuses(bundle, "extra.onnx: does not belong")
    (bundle / "extra.onnx").unlink()
    (bundle / "sub").mkdir()
    refuses(bundle, "sub: does not belong")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes there, and links need a privilege")
@pytest.mark.parametrize("name", ["digit.onnx", "manifest.json", "model.sig"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_is_not_followed_and_a_pipe_not_read(
    bundle: Path, tmp_path: Path, name: str, kind: str
) -> None:
    (bundle / name).touch()
    elsewhere = (bundle / name).rename(tmp_path / "elsewhere")
    if kind == "link":
        (bundle / name).symlink_to(elsewhere)
    else:
        os.mkfifo(bundle / name)
    refuses(bundle, f"{name}: is not a plain file")


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    refuses(tmp_path, "is not a bundle")
    refuses(tmp_path / "nowhere", "is not a bundle")


def tanh_gelu(model: onnx.ModelProto) -> None:
    """The usual approximation, off by less than 0.0005."""
    for node in model.graph.node:
        if node.op_type == "Gelu":
            node.attribute.append(onnx.helper.make_attribute("approximate", "tanh"))


def other_bias(model: onnx.ModelProto) -> None:
    biases = (t for t in model.graph.initializer if list(t.dims) == [10])
    bias = next(t for t in biases if t.data_type == onnx.TensorProto.FLOAT)
    values = np.frombuffer(bias.raw_data, np.float32)
    bias.raw_data = (values + np.linspace(0, 0.3, 10, dtype=np.float32)).tobytes()


def wrong_shape(model: onnx.ModelProto) -> None:
    shape = next(t for t in model.graph.initializer if t.dims == [4])
    shape.raw_data = (7).to_bytes(8, "little") * 4


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("digit.onnx", tanh_gelu, "computes other probabilities than PyTorch"),
        ("digit.onnx", wrong_shape, "cannot be (run|loaded) with ONNX Runtime"),
        ("picture.onnx", other_bias, "computes other probabilities than digit.onnx for picture"),
    ],
)
def test_a_graph_that_computes_wrongly_is_found_by_the_stored_vectors(
    bundle: Path, name: str, change: Callable[[onnx.ModelProto], None], words: str
) -> None:
    model = onnx.load(bundle / name)
    change(model)
    (bundle / name).write_bytes(model.SerializeToString())
    seal(bundle)
    refuses(bundle, f"{name}: {words}")


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("seen", "A" * 1044 + "AA==", "prepares stored picture 0 otherwise"),
        ("ink", False, "has ink=True for stored picture 0"),
    ],
)
def test_another_preparation_than_was_exported_is_found(
    bundle: Path, part: str, value: object, words: str
) -> None:
    document = json.loads((bundle / "vectors.json").read_bytes())
    document["pictures"][0][part] = value
    (bundle / "vectors.json").write_text(json.dumps(document))
    seal(bundle)
    refuses(bundle, f"picture.onnx: {words}")
