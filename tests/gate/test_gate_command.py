"""`mnistnet gate` on real bundles: what passes, what is refused and why, and bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnistnet.bundle.manifest import Fingerprint
from mnistnet.bundle.vectors import from_base64, parse_vectors, to_base64
from mnistnet.cli import main
from mnistnet.errors import BundleError
from mnistnet.gate.judge import judge
from mnistnet.gate.measure import count_parameters, serve
from mnistnet.inference.predictor import DEFAULT_BUNDLE, Predictor

if TYPE_CHECKING:
    from mnistnet.data import DataSet
    from mnistnet.training.train import TrainResult

ROOT = Path(__file__).parents[2]
REAL = {"rules": ROOT / "gates.toml", "data": ROOT / "data" / "mnist"}
IMAGES = 300
BLOCKED = "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'safetensors')));"


@pytest.fixture(scope="module")
def few(mnist: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some test images, and rules that can be met with so few; the command runs in their folder."""
    folder = tmp_path_factory.mktemp("few")
    train, test = mnist.train, mnist.test
    np.savez(
        folder / "few.npz",
        x_train=train.images[:10],
        y_train=train.labels[:10],
        x_test=test.images[:IMAGES],
        y_test=test.labels[:IMAGES],
    )
    (folder / "gates.toml").write_text(
        "loss_to_champion_points = 3\nloss_to_best_points = 3\nlatency_ratio = 9\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network with another last bias, which favours 1, in every file.

    It is whole, and its manifest still claims the figures of the good one.
    """
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import load_file

    folder = tmp_path_factory.mktemp("worse") / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    graph = onnx.load(folder / "digit.onnx").graph
    (graph_bias,) = (numpy_helper.to_array(i) for i in graph.initializer if i.dims == [10])
    bias = load_file(folder / "weights.safetensors")["classifier.0.bias"]
    for name, old in (
        ("digit.onnx", graph_bias),
        ("picture.onnx", graph_bias),
        ("weights.safetensors", bias),
    ):
        new = old + np.array([0, 5, 0, 0, 0, 0, 0, 0, 0, 0], np.float32)
        content = (folder / name).read_bytes()
        assert content.count(old.tobytes()) == 1
        put(folder, name, content.replace(old.tobytes(), new.tobytes()))
    vectors = parse_vectors((folder / "vectors.json").read_bytes(), folder)
    predictor = Predictor(folder)
    answers = predictor.classify(np.stack([from_base64(v.image) for v in vectors.images]))
    images = tuple(
        replace(v, probabilities=tuple(row.tolist()))
        for v, row in zip(vectors.images, answers, strict=True)
    )
    # The network chooses among hypotheses, so another network may choose another.
    pictures = tuple(
        replace(v, seen=to_base64(predictor.predict(from_base64(v.picture, v.shape)).seen))
        for v in vectors.pictures
    )
    put(folder, "vectors.json", replace(vectors, images=images, pictures=pictures).to_bytes())
    return folder


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A copy of the package's own bundle, to damage."""
    return shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")


def gate(
    few: Path, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str, str]:
    with chdir(few), pytest.raises(SystemExit) as stopped:  # where its gates.toml is
        main(["gate", *map(str, arguments), "--data", "few.npz"])
    out, err = capsys.readouterr()
    return int(str(stopped.value.code)), out, err


def test_a_bundle_passes_against_itself_where_there_is_no_torch(few: Path) -> None:
    code = f"{BLOCKED} from mnistnet.cli import main; main(sys.argv[1:])"
    own = str(DEFAULT_BUNDLE)
    words = ["gate", own, "--champion", own, "--best", own, "--data", "few.npz", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=few,
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert lines[-2] == f"{own}: passes all 13 rules"
    verdict = json.loads(lines[-1])
    assert verdict["passed"] is True
    measured = {check["rule"]: check["measured"] for check in verdict["checks"]}
    assert measured["parameters"] == "20,826"
    assert measured["servable"] == "10 of 10 pictures read correctly"
    assert measured["parity"] == "stored answers of PyTorch reproduced"
    assert "0 answers lost, 0 won" in measured["not worse than champion"]


def test_a_worse_network_is_refused_with_the_reasons_whatever_its_manifest_claims(
    few: Path, worse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = gate(few, capsys, worse, "--champion", DEFAULT_BUNDLE, "--markdown", "--json")
    verdict = json.loads(out.splitlines()[-1])
    assert code == 1
    assert out.startswith("The bundle **refused by ")
    refused = {c["rule"] for c in verdict["checks"] if not c["passed"]}
    assert {"floor", "not worse than champion", "corruptions against champion"} <= refused
    passed = {c["rule"] for c in verdict["checks"] if c["passed"]}
    assert {"parameters", "parity", "size", "not worse than best"} <= passed
    assert "won of 300 do not rule out a loss of" in out


def test_a_first_release_passes_without_a_champion(
    few: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = gate(few, capsys, DEFAULT_BUNDLE)
    assert (code, err) == (0, "")
    assert out.count("no champion") == 5
    assert "of weights.safetensors in PyTorch" in out


def test_weights_of_another_network_than_the_graphs_are_refused(
    few: Path, worse: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(damaged, "weights.safetensors", (worse / "weights.safetensors").read_bytes())
    code, out, _ = gate(few, capsys, damaged)
    assert code == 1
    assert "refused by 1 of 13 rules: parity: digit.onnx is not the network of" in out


@pytest.mark.parametrize("content", [b"", b"\xff" * 99, b"\2\0\0\0\0\0\0\0[]"], ids=repr)
def test_weights_that_are_no_safetensors_are_refused(
    few: Path, damaged: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    put(damaged, "weights.safetensors", content)
    code, out, err = gate(few, capsys, damaged)
    assert (code, err) == (1, "")
    assert "weights.safetensors: " in out
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        count_parameters(damaged)  # where torch is not installed, nothing else reads them


def test_one_flipped_bit_is_refused(
    few: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((damaged / "digit.onnx").read_bytes())
    content[1000] ^= 1
    (damaged / "digit.onnx").write_bytes(content)
    code, out, _ = gate(few, capsys, damaged)
    assert code == 1
    assert f"{damaged}: refused by 1 of 1 rules: whole:" in out
    assert "digit.onnx: has another SHA-256" in out


def test_a_bundle_that_cannot_be_served_is_refused_with_the_reason(
    mnist: DataSet, tmp_path: Path
) -> None:
    served = serve(tmp_path / "nowhere", mnist.test)
    assert (served.correct, served.pictures) == (0, 10)
    assert served.problem.startswith("the process failed (")
    assert "is not a bundle" in served.problem
    late = serve(DEFAULT_BUNDLE, mnist.test, timeout_s=0.01)
    assert (late.correct, late.problem) == (0, "no answer within 0.01 s")


@pytest.mark.slow
def test_one_epoch_passes_as_a_first_release_and_not_against_the_packages_own(
    fast_run: TrainResult, tmp_path: Path
) -> None:
    from mnistnet.bundle.export_run import export_run

    export_run(fast_run.run.folder, tmp_path / "fast", data=REAL["data"])
    first = judge(tmp_path / "fast", **REAL)
    assert first.passed, first.table()
    second = judge(tmp_path / "fast", DEFAULT_BUNDLE, **REAL)
    refused = {check.rule for check in second.checks if not check.passed}
    assert {"not worse than champion", "corruptions against champion"} <= refused, second.table()


def put(bundle: Path, name: str, content: bytes) -> None:
    """Put other content in a file's place, and its fingerprint into the manifest."""
    (bundle / name).write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    found = Fingerprint.of(content)
    manifest["files"][name] = {"size_bytes": found.size_bytes, "sha256": found.sha256}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
