"""A bundle is written whole and verified, or the folder stays as it was."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from mnistnet.bundle.export import export
from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, FileError, WeightsError
from mnistnet.inference.predictor import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.model.network import MnistNet

RECORD = replace(read_manifest(DEFAULT_BUNDLE), files={})


def content(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_the_shipped_weights_export_to_the_shipped_bundle_to_the_byte(
    net: MnistNet, tmp_path: Path
) -> None:
    report = (DEFAULT_BUNDLE / "report.json").read_bytes()
    card = (DEFAULT_BUNDLE / "README.md").read_text("utf-8")
    export(net, tmp_path / "a" / "b", RECORD, report=report, card=card)
    shipped = content(DEFAULT_BUNDLE)
    assert content(tmp_path / "a" / "b") == shipped
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert sum(map(len, shipped.values())) < 1_000_000


def test_mode_and_memory_layout_change_no_byte_and_exporting_does_not_change_them(
    net: MnistNet, tmp_path: Path
) -> None:
    training = copy.deepcopy(net).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    export(training, tmp_path, RECORD)
    for name in ("digit.onnx", "picture.onnx", "vectors.json", "weights.safetensors"):
        assert (tmp_path / name).read_bytes() == (DEFAULT_BUNDLE / name).read_bytes()
    assert training.training
    for name, tensor in training.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])
        assert tensor.dtype == net.state_dict()[name].dtype


def test_a_bundle_is_replaced_with_its_signature(net: MnistNet, bundle: Path) -> None:
    (bundle / "model.sig").write_bytes(b"of the old one")
    export(net, bundle, RECORD, card="# Another\n")
    verify(bundle)
    assert (bundle / "README.md").read_bytes() == b"# Another\n"
    assert not (bundle / "model.sig").exists()
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", ["thesis.tex", "manifest.json", "digit.onnx"])
def test_a_folder_that_is_no_bundle_is_left_alone(net: MnistNet, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises((BundleError, FileError), match=str(tmp_path.name)):
        export(net, tmp_path, RECORD)
    assert content(tmp_path) == {name: b"mine"}


def test_a_file_in_the_place_of_the_folder_is_left_alone(net: MnistNet, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileError, match="file: cannot be written"):
        export(net, tmp_path / "file", RECORD)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_when_the_new_bundle_fails_verification_the_old_one_stays(
    net: MnistNet, bundle: Path
) -> None:
    before = content(bundle)
    no_source = replace(RECORD, origin=replace(RECORD.origin, source={"commit": None}))
    with pytest.raises(BundleError, match="has no 'dirty'"):
        export(net, bundle, no_source)
    assert content(bundle) == before
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_is_refused(net: MnistNet, tmp_path: Path, value: float) -> None:
    diverged = copy.deepcopy(net)
    next(diverged.parameters()).data[0] = value
    with pytest.raises(WeightsError, match="not finite"):
        export(diverged, tmp_path / "b", RECORD)
    assert not list(tmp_path.iterdir())
