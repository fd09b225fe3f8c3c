"""`mnistnet reproduce`: the manifest is enough to get the same weights again, or to say why not."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from releases import RecordingGate

from mnistnet import data as datasets
from mnistnet.bundle.export_run import export_run
from mnistnet.bundle.manifest import MANIFEST, Fingerprint, Manifest, read_manifest
from mnistnet.cli import main
from mnistnet.provenance import basis_of, differences
from mnistnet.registry.publish import publish
from mnistnet.training.recipe import Recipe
from mnistnet.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.data import DataSet


@pytest.fixture(scope="module")
def few(mnist: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.npz` with a hundredth of the training images: an epoch takes half a second."""
    file = tmp_path_factory.mktemp("data") / "few.npz"
    train, test = mnist.train, mnist.test
    np.savez(
        file,
        x_train=train.images[:600],
        y_train=train.labels[:600],
        x_test=test.images[:500],
        y_test=test.labels[:500],
    )
    return file


@pytest.fixture(scope="module")
def pristine(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was trained on them."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = Recipe(name="tiny", batch_size=20, seed=3, precision="float32")
    result = train(recipe, data=few, runs=folder, name="tiny")
    export_run(result.run.folder, folder / "bundle", data=few)
    return folder / "bundle"


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    """A copy, to change."""
    return shutil.copytree(pristine, tmp_path / "bundle")


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as exited:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return exited.value.code, out, err


def _rewrite(bundle: Path, **changes: Any) -> Manifest:
    """Change what a bundle's manifest says of its origin."""
    manifest = read_manifest(bundle)
    origin = dataclasses.replace(manifest.origin, **changes)
    manifest = dataclasses.replace(manifest, origin=origin)
    (bundle / MANIFEST).write_bytes(manifest.to_bytes())
    return manifest


def test_the_manifest_alone_gives_the_same_weights_to_the_bit(
    pristine: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _run(capsys, "reproduce", pristine, "--data", few, "--json")
    assert code == 0, err
    assert "Batch: 30, Loss: " in out  # progress, as train shows it
    assert f"{pristine}: trained again to the same weights, bit for bit" in out
    result = json.loads(out.splitlines()[-1])
    assert result["same"]
    assert result["differences"] == []
    assert result["correct_here"] == result["correct_there"]
    assert result["judged"] == 500


def test_precision_and_threads_are_the_bundles_and_not_this_machines(
    bundle: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = read_manifest(bundle).origin
    environment = origin.environment | {"precision": "bfloat16", "threads": 3}
    _rewrite(bundle, environment=environment, recipe=origin.recipe | {"precision": "auto"})
    code, out, _ = _run(capsys, "reproduce", bundle, "--data", few, "--json")
    assert code == 1
    result = json.loads(out.splitlines()[-1])
    assert not result["same"]
    assert not any("precision" in line or "threads" in line for line in result["differences"])


def test_other_weights_are_told_with_what_differs_and_whether_it_matters(
    bundle: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = read_manifest(bundle).origin
    assert origin.inputs
    _rewrite(
        bundle,
        recipe=origin.recipe | {"seed": 4},
        versions=origin.versions | {"torch": "1.0\x1b[31m"},
        environment=origin.environment | {"instruction_set": "AVX9"},
        source={"commit": "ab" * 20, "dirty": False},
        inputs=origin.inputs | {"code": "0" * 64},
    )
    code, out, _ = _run(capsys, "reproduce", bundle, "--data", few)
    assert code == 1
    for line in (
        r"versions: torch was '1.0\x1b[31m', is '",
        "environment: instruction_set was 'AVX9', is '",
        f"source: commit was '{'ab' * 20}', is ",
        "code: the rooms that train have changed since",
        "% there, ",
        "significant",
        f"{bundle}: trained again to other weights",
    ):
        assert line in out
    p_value = float(re.findall(r"McNemar p = ([\d.e-]+)\)", out)[0])
    assert ("not significant" in out) == (p_value >= 0.05)


def test_a_loss_that_chance_does_not_explain_is_called_significant(
    bundle: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = read_manifest(bundle).origin.recipe
    _rewrite(bundle, recipe=recipe | {"learning_rate": 1e-9})
    code, out, _ = _run(capsys, "reproduce", bundle, "--data", few, "--json")
    assert code == 1
    result = json.loads(out.splitlines()[-1])
    assert result["significant"]
    assert result["difference"]["high"] < 0


def test_one_flipped_bit_is_seen(
    bundle: Path, few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = bytearray((bundle / "weights.safetensors").read_bytes())
    weights[-4] ^= 1  # the last bit of the last weight's fraction
    (bundle / "weights.safetensors").write_bytes(weights)
    manifest = read_manifest(bundle)
    manifest.files["weights.safetensors"] = Fingerprint.of(bytes(weights))
    (bundle / MANIFEST).write_bytes(manifest.to_bytes())
    code, out, _ = _run(capsys, "reproduce", bundle, "--data", few)
    assert code == 1
    assert out.splitlines()[-4] == "nothing that is recorded differs"


def test_other_data_are_refused_before_anything_is_trained(
    pristine: Path, few_digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _run(capsys, "reproduce", pristine, "--data", few_digits)
    assert (code, out) == (2, "")
    assert err == (
        f"mnistnet: {few_digits}: is not what {pristine} was trained on; name that with --data\n"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": {"epochs": "many"}}, "epochs"),
        ({"recipe": {"depth": 3}}, "depth"),
        ({"environment": {"precision": "float8", "threads": 1}}, "precision"),
        ({"environment": {"precision": "float32", "threads": -1}}, "threads"),
    ],
)
def test_a_manifest_with_an_impossible_recipe_is_refused_in_one_line(
    bundle: Path,
    few: Path,
    changes: dict[str, Any],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _rewrite(bundle, **changes)
    code, _, err = _run(capsys, "reproduce", bundle, "--data", few)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert str(bundle) in err


def test_what_is_no_bundle_is_refused(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = _run(capsys, "reproduce", tmp_path, "--data", few)
    assert code == 2
    assert "is not a bundle" in err


def test_a_published_version_is_pulled_and_trained_again(
    pristine: Path,
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    publish(pristine, remote=str(remote), gate=RecordingGate())
    code, out, err = _run(capsys, "reproduce", "v1", "--remote", remote, "--data", few)
    assert code == 0, err
    assert out.endswith("v1: trained again to the same weights, bit for bit\n")
    code, _, err = _run(capsys, "reproduce", "v2", "--remote", remote, "--data", few)
    assert (code, err.count("\n")) == (2, 1)


def test_a_run_and_its_bundle_have_the_fingerprint(pristine: Path, few: Path) -> None:
    run = pristine.parent / "tiny"
    inputs = json.loads((run / "origin.json").read_bytes())["inputs"]
    assert inputs == json.loads((pristine / MANIFEST).read_bytes())["inputs"]
    basis = basis_of(
        Recipe(batch_size=20, seed=3, precision="float32").as_dict(), datasets.load(few).sha256
    )
    assert inputs == basis.inputs
    assert differences(read_manifest(pristine).origin, basis) == []
