"""A bundle is written whole and verified, or what lay there stays."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from bundle_parts import CARD, METRICS, ORIGIN, REPORT

from mnistnet.bundle.export import export
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, FileError, WeightsError
from mnistnet.model.network import MnistNet

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.bundle.manifest import Origin


def export_to(directory: Path, net: MnistNet, card: str = CARD, origin: Origin = ORIGIN) -> None:
    export(net, directory, origin=origin, metrics=METRICS, report=REPORT, card=card)


def content(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_the_weights_come_back_to_the_bit(net: MnistNet, pristine: Path) -> None:
    again = MnistNet.load(pristine).state_dict()
    assert list(again) == list(net.state_dict())
    assert all(torch.equal(again[name], tensor) for name, tensor in net.state_dict().items())


def test_exporting_does_not_change_the_network(net: MnistNet, tmp_path: Path) -> None:
    training = copy.deepcopy(net).train()
    export_to(tmp_path / "b", training)
    assert training.training
    assert all(
        torch.equal(tensor, net.state_dict()[name])
        for name, tensor in training.state_dict().items()
    )
    assert all(p.dtype == torch.float32 for p in training.parameters())


def test_memory_layout_and_mode_leave_no_trace(
    net: MnistNet, pristine: Path, tmp_path: Path
) -> None:
    other = copy.deepcopy(net).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    export_to(tmp_path / "b", other)
    for name in ("digit.onnx", "vectors.json", "weights.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (pristine / name).read_bytes()


def test_folders_above_are_made_and_an_empty_one_is_used(net: MnistNet, tmp_path: Path) -> None:
    export_to(tmp_path / "a" / "b" / "c", net)
    verify(tmp_path / "a" / "b" / "c")
    (tmp_path / "empty").mkdir()
    export_to(tmp_path / "empty", net)
    verify(tmp_path / "empty")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "empty"]


def test_a_bundle_is_replaced_with_its_signature(net: MnistNet, bundle: Path) -> None:
    (bundle / "model.sig").write_bytes(b"of the old one")
    export_to(bundle, net, card="# Another\n")
    verify(bundle)
    assert (bundle / "README.md").read_bytes() == b"# Another\n"
    assert not (bundle / "model.sig").exists()
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


def test_a_link_to_a_bundle_stays_a_link(net: MnistNet, bundle: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    try:
        link.symlink_to(bundle, target_is_directory=True)
    except OSError:
        pytest.skip("making links needs a privilege here")
    export_to(link, net, card="# Another\n")
    assert link.is_symlink()
    assert (bundle / "README.md").read_bytes() == b"# Another\n"


@pytest.mark.parametrize("names", [["thesis.tex"], ["manifest.json"], ["digit.onnx"]])
def test_a_folder_that_is_no_bundle_is_left_alone(
    net: MnistNet, tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises((BundleError, FileError), match=str(tmp_path.name)):
        export_to(tmp_path, net)
    assert content(tmp_path) == dict.fromkeys(names, b"mine")


def test_a_bundle_with_something_of_mine_in_it_is_left_alone(net: MnistNet, bundle: Path) -> None:
    (bundle / "notes.txt").write_bytes(b"mine")
    before = content(bundle)
    with pytest.raises(FileError, match=r"holds notes\.txt"):
        export_to(bundle, net, card="# Another\n")
    assert content(bundle) == before


def test_a_file_in_the_way_is_left_alone(net: MnistNet, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileError, match="file: cannot be written"):
        export_to(tmp_path / "file", net)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_when_the_new_bundle_fails_verification_the_old_one_stays(
    net: MnistNet, bundle: Path
) -> None:
    before = content(bundle)
    with pytest.raises(BundleError, match="has no 'dirty'"):
        export_to(bundle, net, origin=replace(ORIGIN, source={"commit": None}))
    assert content(bundle) == before
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


def test_when_the_new_bundle_cannot_take_its_place_the_old_one_comes_back(
    net: MnistNet, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(bundle)
    rename = type(bundle).rename

    def failing(path: Path, target: Path) -> Path:
        if target == bundle and not path.name.endswith(".replaced"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(type(bundle), "rename", failing)
    with pytest.raises(FileError, match="No space left"):
        export_to(bundle, net)
    assert content(bundle) == before
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_is_refused(net: MnistNet, tmp_path: Path, value: float) -> None:
    diverged = copy.deepcopy(net)
    next(diverged.parameters()).data[0] = value
    with pytest.raises(WeightsError, match="not finite"):
        export_to(tmp_path / "b", diverged)
    assert not list(tmp_path.iterdir())
