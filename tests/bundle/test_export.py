"""Bundles are written whole and verified; runs, and bundles again, are exported with their origin.

One file, since torch takes seconds to trace the picture graph, once in a process.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from releases import seal

import mnistnet
from mnistnet.bundle.export import export
from mnistnet.bundle.export_run import export_run
from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.verify import verify
from mnistnet.cli import main
from mnistnet.errors import BundleError, FileError, MnistNetError, WeightsError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.model.network import MnistNet
from mnistnet.provenance import export_basis
from mnistnet.training.recipe import Recipe
from mnistnet.training.runs import Run
from mnistnet.training.train import train

SOURCE = Path(mnistnet.__file__).parent
ROOT = Path(__file__).parents[2]
RECORD = dataclasses.replace(read_manifest(DEFAULT_BUNDLE), files={})
REPORT = (DEFAULT_BUNDLE / "report.json").read_bytes()
tracing = pytest.mark.slow  # the preparation, by torch: ten seconds, once in a process


def content(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


@tracing
def test_the_shipped_weights_export_to_the_shipped_bundle_to_the_byte(
    net: MnistNet, tmp_path: Path
) -> None:
    export(net, tmp_path / "a" / "b", RECORD, report=REPORT)
    shipped = content(DEFAULT_BUNDLE)
    assert content(tmp_path / "a" / "b") == shipped
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert sum(map(len, shipped.values())) < 1_000_000


@tracing
def test_mode_and_memory_layout_change_no_byte_and_exporting_does_not_change_them(
    net: MnistNet, tmp_path: Path
) -> None:
    training = copy.deepcopy(net).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    export(training, tmp_path, RECORD, report=REPORT)
    for name in ("digit.onnx", "picture.onnx", "vectors.json", "weights.safetensors"):
        assert (tmp_path / name).read_bytes() == (DEFAULT_BUNDLE / name).read_bytes()
    assert training.training
    for name, tensor in training.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])
        assert tensor.dtype == net.state_dict()[name].dtype


@tracing
def test_a_bundle_is_replaced_with_its_signature(net: MnistNet, bundle: Path) -> None:
    (bundle / "model.sig").write_bytes(b"of the old one")
    export(net, bundle, dataclasses.replace(RECORD, metrics=None))
    verify(bundle)
    assert "- **Accuracy**: not measured." in (bundle / "README.md").read_text(encoding="utf-8")
    assert not (bundle / "model.sig").exists()
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_and_a_file_in_its_place_are_left_alone(
    net: MnistNet, tmp_path: Path
) -> None:
    for name in ("thesis.tex", "manifest.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"mine")
        with pytest.raises((BundleError, FileError), match=name):
            export(net, tmp_path / name, RECORD)
        with pytest.raises(FileError, match="cannot be written"):
            export(net, tmp_path / name / name, RECORD)
        assert content(tmp_path / name) == {name: b"mine"}


@tracing
def test_when_the_new_bundle_fails_verification_the_old_one_stays(
    net: MnistNet, bundle: Path
) -> None:
    before = content(bundle)
    origin = dataclasses.replace(RECORD.origin, source={"commit": None})
    with pytest.raises(BundleError, match="has no 'dirty'"):
        export(net, bundle, dataclasses.replace(RECORD, origin=origin), report=REPORT)
    assert content(bundle) == before
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


def test_a_network_that_diverged_is_refused(net: MnistNet, tmp_path: Path) -> None:
    diverged = copy.deepcopy(net)
    next(diverged.parameters()).data[0] = float("nan")
    with pytest.raises(WeightsError, match="not finite"):
        export(diverged, tmp_path / "b", RECORD)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("runs")
    return train(Recipe(name="tiny", batch_size=20), data=tiny, runs=runs, name="tiny").run


@pytest.fixture(scope="module")
def exported(trained: Run, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export_run(trained.folder, folder, data=tiny)
    return folder


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with the source in it, at another commit, which takes the program's place."""
    folder = tmp_path / "clone"
    package = shutil.copytree(SOURCE, folder / "src" / "mnistnet")
    words = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "src"), (*words, "commit", "-qm", "Write it")):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    monkeypatch.setattr(mnistnet, "__file__", str(package / "__init__.py"))
    return folder


@tracing
def test_a_bundles_weights_are_exported_to_the_same_bytes_as_the_runs(
    exported: Path, tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", str(exported), "-o", str(tmp_path / "again"), "--data", str(tiny)])
    assert ended.value.code == 0
    assert content(tmp_path / "again") == content(exported)


@tracing
def test_the_manifest_names_who_trained_the_weights_and_who_made_the_bundle(
    trained: Run, exported: Path, clone: Path, tiny: Path, tmp_path: Path
) -> None:
    origin = json.loads(trained.origin_file.read_bytes())
    first = read_manifest(exported)
    assert first.origin.as_document() == origin
    assert first.export
    assert first.export.source == origin["source"]
    assert first.export.inputs == export_basis().inputs

    begun = {"commit": "12" * 20, "dirty": False}  # the run was resumed, of another commit's
    part = {"source": begun, "versions": origin["versions"], "inputs": origin["inputs"]}
    resumed = seal(shutil.copytree(exported, tmp_path / "resumed"), earlier={"1": part})

    again = export_run(resumed, tmp_path / "again", data=tiny)
    commit = subprocess.run(
        ["git", "-C", str(clone), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert again.origin.as_document() == origin | {"earlier": {"1": part}}
    assert again.files["weights.safetensors"] == first.files["weights.safetensors"]
    assert again.export
    assert again.export.source == {"commit": commit, "dirty": False}
    card = (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
    assert f"commit {begun['commit']}, then {origin['source']['commit']}" in card
    assert f"exported by commit {commit}" in card


@tracing
def test_the_card_names_mnist_only_where_the_data_are_mnists(
    exported: Path, tmp_path: Path
) -> None:
    assert "MNIST's" not in (exported / "README.md").read_text(encoding="utf-8")
    export_run(DEFAULT_BUNDLE, tmp_path / "bundle", data=ROOT / "data" / "mnist")
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "- **Accuracy** on MNIST's test images: 9" in card
    assert "- **Trained on**: MNIST's 58,000 training images (Yann LeCun, " in card


@tracing
def test_a_bundle_that_is_damaged_or_of_other_data_is_not_exported_again(
    exported: Path, tiny: Path, few_digits: Path, tmp_path: Path
) -> None:
    with pytest.raises(MnistNetError, match="trained on other data"):
        export_run(exported, tmp_path / "again", data=few_digits)
    damaged = shutil.copytree(exported, tmp_path / "damaged")
    (damaged / "weights.safetensors").write_bytes(b"x" * 87_816)
    with pytest.raises(MnistNetError, match="another SHA-256"):
        export_run(damaged, tmp_path / "again", data=tiny)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("verb", ["train", pytest.param("export", marks=tracing)])
def test_a_clone_that_git_does_not_trust_is_named_in_one_line_with_gits_advice(
    verb: str, trained: Run, clone: Path, tiny: Path, tmp_path: Path
) -> None:
    words = {
        "train": ["--batch-size", "20", "--name", "x"],
        "export": [str(trained.folder), "-o", "x"],
    }
    environment = {"PYTHONPATH": str(clone / "src"), "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mnistnet", verb, *words[verb], "--data", str(tiny)],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "commit" in line)
    assert line.startswith(f"{clone}: no commit is recorded: ")
    assert "dubious ownership" in line
    assert line.endswith(f"git config --global --add safe.directory {clone}")
