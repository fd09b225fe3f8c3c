"""`mnistnet reproduce`: the manifest is enough to get the same weights again, or to say why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from releases import RecordingGate, Run, seal

from mnistnet import data as datasets
from mnistnet.bundle.documents import card
from mnistnet.bundle.manifest import read_manifest
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.provenance import training_basis
from mnistnet.registry.publish import publish
from mnistnet.training.native import load_library, precision_of, variants
from mnistnet.training.recipe import Recipe
from mnistnet.training.train import train


@pytest.fixture(scope="module")
def pristine(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the weights and the origin of a short run; only its graphs are others'."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = Recipe(name="tiny", batch_size=20, seed=3, precision="float32")
    run = train(recipe, data=tiny, runs=folder, name="tiny").run
    bundle = shutil.copytree(DEFAULT_BUNDLE, folder / "bundle")
    shutil.copy(run.weights_file, bundle)
    manifest = read_manifest(seal(bundle, **json.loads((run.folder / "origin.json").read_bytes())))
    (bundle / "README.md").write_bytes(card(manifest))
    return seal(bundle)


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    """A copy, to change."""
    return shutil.copytree(pristine, tmp_path / "bundle")


def test_the_manifest_is_enough_to_train_the_same_weights_to_the_bit(
    pristine: Path, tiny: Path, run: Run
) -> None:
    code, out, err = run("reproduce", pristine, "--data", tiny, "--json")
    assert code == 0, err
    assert "Batch: 30, Loss: " in out  # progress, as train shows it
    assert f"{pristine}: trained again to the same weights, bit for bit" in out
    result = json.loads(out.splitlines()[-1])
    assert result["same"]
    assert result["differences"] == []
    assert result["correct_here"] == result["correct_there"]
    assert result["judged"] == 100


def test_engine_precision_and_threads_are_taken_from_what_the_bundle_was_trained_with(
    tiny: Path, tmp_path: Path, run: Run
) -> None:
    recipe = Recipe(name="tiny", batch_size=20, engine="torch", precision="float32", threads=3)
    trained = train(recipe, data=tiny, runs=tmp_path, name="torch").run
    bundle = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    shutil.copy(trained.weights_file, bundle)
    record = json.loads(trained.origin_file.read_bytes())
    auto = {"device": "auto", "engine": "auto", "precision": "auto", "threads": 0}
    seal(bundle, **record | {"recipe": record["recipe"] | auto})
    code, out, _ = run("reproduce", bundle, "--data", tiny, "--json")
    assert code == 0, out
    assert json.loads(out.splitlines()[-1])["differences"] == []


def test_the_kernels_instruction_set_is_taken_from_the_bundle(
    bundle: Path, tiny: Path, run: Run
) -> None:
    origin = read_manifest(bundle).origin
    if origin.environment["engine"] != "native":
        pytest.skip("the native kernels were not built")
    there = [v for v in variants(load_library()) if precision_of(v) == "float32"]
    if len(there) < 2:
        pytest.skip("the kernels were built for one instruction set of this processor")
    seal(bundle, environment=origin.environment | {"instruction_set": there[-1]})
    _, out, _ = run("reproduce", bundle, "--data", tiny, "--json")
    result = json.loads(out.splitlines()[-1])
    assert not result["same"]  # the best one rounds differently
    assert result["differences"] == []


def test_what_is_not_here_is_named_and_left_to_this_machine(
    bundle: Path, tiny: Path, run: Run
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    origin = read_manifest(bundle).origin
    seal(bundle, environment=origin.environment | {"device": "cuda"})
    _, out, _ = run("reproduce", bundle, "--data", tiny, "--json")
    differences = json.loads(out.splitlines()[-1])["differences"]
    assert differences[0].startswith("environment: device is not what it was: device is cuda, but")
    assert differences[1] == "environment: device was 'cuda', is 'cpu'"


def test_other_weights_are_reported_with_what_differs_and_whether_that_is_significant(
    bundle: Path, tiny: Path, run: Run
) -> None:
    origin = read_manifest(bundle).origin
    assert origin.inputs
    first = {"commit": "cd" * 20, "dirty": False}  # of a run that was resumed
    seal(
        bundle,
        recipe=origin.recipe | {"learning_rate": 1e-9},
        versions=origin.versions | {"torch": "1.0"},
        environment=origin.environment | {"instruction_set": "AVX9"},
        source={"commit": "ab" * 20, "dirty": False},
        earlier={"1": {"source": first, "versions": {}, "inputs": {}}},
        inputs=origin.inputs | {"code": "0" * 64},
    )
    code, out, _ = run("reproduce", bundle, "--data", tiny, "--significant")
    assert code == 1
    for line in (
        "versions: torch was '1.0', is '",
        "environment: instruction_set was 'AVX9', is '",
        f"source: commit was '{'ab' * 20}', is ",
        f"source: commit was '{'cd' * 20}', is ",
        "code: what trains has changed since",
        "% there, ",
        "): significant",
        f"{bundle}: trained again to other weights",
    ):
        assert line in out


def test_one_flipped_bit_is_found(bundle: Path, tiny: Path, run: Run) -> None:
    weights = bytearray((bundle / "weights.safetensors").read_bytes())
    weights[-4] ^= 1  # the last bit of the last weight's fraction
    (bundle / "weights.safetensors").write_bytes(weights)
    seal(bundle)
    code, out, _ = run("reproduce", bundle, "--data", tiny)
    assert code == 1
    assert out.splitlines()[-4] == "nothing that is recorded differs"
    assert "): not significant" in out
    assert run("reproduce", bundle, "--data", tiny, "--significant")[0] == 0


def test_other_data_are_refused_before_anything_is_trained(
    pristine: Path, few_digits: Path, run: Run
) -> None:
    code, out, err = run("reproduce", pristine, "--data", few_digits)
    assert (code, out) == (2, "")
    assert err == (
        f"mnistnet: {few_digits}: is not what {pristine} was trained on; name that with --data\n"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": {"depth": 3}}, "depth"),
        ({"environment": {"precision": "float8", "threads": 1}}, "precision"),
    ],
)
def test_a_manifest_with_an_impossible_recipe_is_refused_in_one_line(
    bundle: Path,
    tiny: Path,
    changes: dict[str, Any],
    words: str,
    run: Run,
) -> None:
    seal(bundle, **changes)
    code, _, err = run("reproduce", bundle, "--data", tiny)
    assert code == 2
    assert words in err
    assert str(bundle) in err


def test_a_published_version_is_pulled_and_trained_again(
    pristine: Path, tiny: Path, registry: Path, run: Run
) -> None:
    publish(pristine, remote=str(registry), gate=RecordingGate())
    code, out, err = run("reproduce", "v1", "--remote", registry, "--data", tiny)
    assert code == 0, err
    assert out.endswith("v1: trained again to the same weights, bit for bit\n")
    assert run("reproduce", "v2", "--remote", registry, "--data", tiny)[0] == 2


def test_a_run_records_the_fingerprint_of_its_inputs(pristine: Path, tiny: Path) -> None:
    recipe = Recipe(batch_size=20, seed=3, precision="float32").as_dict()
    basis = training_basis(recipe, datasets.load(tiny).sha256)
    assert read_manifest(pristine).origin.inputs == basis.inputs
