"""`mnistnet gate` on real bundles: what passes, what is refused and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from releases import Python, Run, claim, measured_on, seal
from sabotage import SABOTAGE, edit_picture_graph, store_answers

from mnistnet.bundle.verify import verify
from mnistnet.gate.checks import Verdict
from mnistnet.gate.judge import Evaluator, judge
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.training.train import TrainResult

ROOT = Path(__file__).parents[2]
RULES, MNIST = ROOT / "gates.toml", ROOT / "data" / "mnist"
WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "onnx", "safetensors")))
from mnistnet.cli import main
from mnistnet.gate import judge
judge.ROUNDS = 3
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def lenient_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rules file."""
    rules = tmp_path_factory.mktemp("rules") / "few.toml"
    rules.write_text("loss_to_champion_points = 5\nloss_to_best_points = 5\nlatency_ratio = 9\n")
    return rules


@pytest.fixture(scope="module")
def options(tiny: Path, lenient_rules: Path) -> list[str]:
    """A hundred test images, and rules that can be met with so few."""
    return ["--data", str(tiny), "--rules", str(lenient_rules)]


@pytest.fixture
def gate(options: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls the command in this process, with these options, a third of the pictures, and soon."""
    monkeypatch.setattr("mnistnet.gate.judge.ROUNDS", 3)
    monkeypatch.setattr("mnistnet.metrics.pictures.PER_DIGIT", 1)
    return lambda *words: run("gate", *words, *options)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The shipped network in a bundle of the hundred images."""
    folder = tmp_path_factory.mktemp("own") / "bundle"
    return measured_on(shutil.copytree(DEFAULT_BUNDLE, folder), tiny)


@pytest.fixture
def bundle(own: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(own, tmp_path / "bundle")


@pytest.fixture(scope="module")
def worse(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network with another last bias, which favours 1, in every file.

    It is whole, and its manifest still claims the figures of the good one.
    """
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import load_file

    folder = shutil.copytree(own, tmp_path_factory.mktemp("worse") / "bundle")
    graph = onnx.load(folder / "digit.onnx").graph
    (graph_bias,) = (numpy_helper.to_array(i) for i in graph.initializer if i.dims == [10])
    bias = load_file(folder / "weights.safetensors")["classifier.0.bias"]
    for name, old in (
        ("digit.onnx", graph_bias),
        ("picture.onnx", graph_bias),
        ("weights.safetensors", bias),
    ):
        new = old + np.array([0, 20, 0, 0, 0, 0, 0, 0, 0, 0], np.float32)
        content = (folder / name).read_bytes()
        assert content.count(old.tobytes()) == 1
        (folder / name).write_bytes(content.replace(old.tobytes(), new.tobytes()))
    return store_answers(folder)


def test_a_bundle_passes_against_itself_where_there_is_no_torch(
    own: Path, options: list[str], python: Python
) -> None:
    words = ["gate", own, "--champion", own, "--best", own, *options, "--json"]
    done = python(WITHOUT_TORCH, *words)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines[-2] == f"{own}: passes all 18 rules"
    verdict = json.loads(lines[-1])
    assert verdict["passed"] is True
    measured = {check["rule"]: check["measured"] for check in verdict["checks"]}
    assert measured["parameters"] == "20,826"
    assert measured["pictures"].startswith("100.00% of 372 pictures (")
    assert measured["blank pages"].startswith("100.00% of 24 blank pages")
    assert measured["picture parity"].endswith(" on 396 images")
    assert measured["parity"].endswith(" on 100 images")
    assert "0 answers lost, 0 won" in measured["not worse than champion"]


def test_a_worse_network_is_refused_with_the_reasons_whatever_its_manifest_claims(
    gate: Run, worse: Path
) -> None:
    code, out, _ = gate(worse, "--champion", DEFAULT_BUNDLE, "--markdown", "--json")
    verdict = json.loads(out.splitlines()[-1])
    assert code == 1
    assert out.startswith("The bundle **refused by ")
    refused = {c["rule"]: c["why"] for c in verdict["checks"] if not c["passed"]}
    relative = {"not worse than champion", "corruptions against champion"}
    assert {"floor", "claims", *relative} <= set(refused)
    assert "won of 100 do not rule out a loss of" in refused["not worse than champion"]
    passed = {c["rule"] for c in verdict["checks"] if c["passed"]}
    assert {"parameters", "parity", "size", "not worse than best"} <= passed


def test_a_first_release_is_refused_for_weights_of_another_network_and_for_false_claims(
    gate: Run, worse: Path, bundle: Path
) -> None:
    shutil.copy(worse / "weights.safetensors", bundle)
    report = json.loads((bundle / "report.json").read_bytes())
    claim(bundle, report | {"expected_calibration_error": 0.0})
    code, out, err = gate(bundle)
    assert (code, err) == (1, "")
    assert "refused by 2 of 18 rules: " in out
    assert "parity: digit.onnx is not the network of" in out
    assert "claims: its manifest claims calibration_error 0, measured" in out
    assert out.count("no champion") == 6


def _add(bundle: Path, name: str, text: str) -> None:
    with (bundle / name).open("a", encoding="utf-8") as file:
        file.write(text)


CLAIMS: dict[
    str, tuple[Callable[[Path], object], str]
] = {  # what is changed, and why the gate refuses it; those after the second are slow tests
    "no figures": (
        lambda bundle: seal(bundle, metrics={}),
        "has not the line of the manifest's accuracy",
    ),
    "no data": (
        lambda bundle: seal(bundle, data={}),
        "t10k-images-idx3-ubyte is None… in its manifest",
    ),
    "other data": (
        lambda bundle: measured_on(bundle, MNIST),
        "t10k-images-idx3-ubyte is 0fa7898d5092… in its manifest and ",
    ),
    "a field of its own": (
        lambda bundle: seal(bundle, comment="best of all"),
        "manifest.json is not as this",
    ),
    "a card of its own": (
        lambda bundle: _add(bundle, "README.md", "\n100 % on mine\n"),
        "its README.md or",
    ),
    "a page": (
        lambda bundle: _add(bundle, "report.html", "<b>100 %</b>"),
        "report.html lies in the",
    ),
}


@pytest.mark.parametrize(
    "name",
    [*list(CLAIMS)[:2], *(pytest.param(k, marks=pytest.mark.slow) for k in list(CLAIMS)[2:])],
)
def test_what_cannot_be_compared_with_what_is_measured_is_refused(
    gate: Run, bundle: Path, name: str
) -> None:
    change, words = CLAIMS[name]
    change(bundle)
    code, out, err = gate(seal(bundle))
    assert (code, err) == (1, "")
    assert words in out
    assert "refused by 1 of" in out


def _with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the shipped weights with another header."""
    content = (DEFAULT_BUNDLE / "weights.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[end:]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 99,
        b"\2\0\0\0\0\0\0\0[]",
        b"\2\0\0\0\0\0\0\0{}",
        _with_header(lambda header: header["features.0.bias"].update(shape=[-100_000])),
        _with_header(lambda header: header["features.0.bias"].update(shape=[8.0])),
        _with_header(lambda header: header["features.0.bias"].update(dtype="F16")),
        _with_header(lambda header: header["features.0.bias"].update(data_offsets=[0, 32])),
        _with_header(lambda header: header.update(more=header["features.0.bias"])),
        _with_header(lambda header: header.update(__metadata__={"accuracy": "100 %"})),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_weights_that_are_not_laid_out_as_the_format_says_are_refused(
    gate: Run, bundle: Path, content: bytes
) -> None:
    (bundle / "weights.safetensors").write_bytes(content)
    code, out, err = gate(seal(bundle))
    assert (code, err) == (1, "")
    assert "weights.safetensors: " in out


def test_a_damaged_bundle_is_refused(gate: Run, bundle: Path) -> None:
    with (bundle / "digit.onnx").open("r+b") as file:
        file.write(b"\0")
    code, out, _ = gate(bundle)
    assert code == 1
    assert f"{bundle}: refused by 1 of 1 rules: whole:" in out
    assert "digit.onnx: has another SHA-256" in out
    for other in ("--champion", "--best"):
        code, out, err = gate(DEFAULT_BUNDLE, other, bundle)
        assert (code, out) == (2, "")
        assert err.startswith(f"mnistnet: {bundle / 'digit.onnx'}: has another SHA-256")


def test_a_bundle_whose_graphs_take_too_long_in_all_is_refused(
    gate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnistnet.gate.judge.BUDGET_S", 0)  # any other, a fast run may keep to
    code, out, err = gate(DEFAULT_BUNDLE)
    assert (code, err) == (1, "")
    assert "digit.onnx: takes too long with ONNX Runtime" in out


@pytest.mark.slow
def test_one_epoch_passes_as_a_first_release_and_not_against_the_packages_own(
    fast_run: TrainResult, tmp_path: Path
) -> None:
    from mnistnet.bundle.export_run import export_run

    export_run(fast_run.run.folder, tmp_path / "fast", data=MNIST)
    evaluator = Evaluator(MNIST)
    first = judge(tmp_path / "fast", rules=RULES, evaluator=evaluator)
    assert first.passed, first.table()
    second = judge(tmp_path / "fast", DEFAULT_BUNDLE, rules=RULES, evaluator=evaluator)
    rules = {"not worse than champion", "corruptions against champion"}
    assert rules <= refused(second), second.table()


@pytest.fixture(scope="module")
def evaluator(tiny: Path) -> Evaluator:
    """Measures on a hundred images, and a third of the pictures."""
    evaluator = Evaluator(tiny)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnistnet.metrics.pictures.PER_DIGIT", 1)
        assert evaluator.inputs
    return evaluator


def refused(verdict: Verdict) -> set[str]:
    return {check.rule for check in verdict.checks if not check.passed}


@pytest.mark.parametrize(
    "name",
    [*list(SABOTAGE)[:3], *(pytest.param(k, marks=pytest.mark.slow) for k in list(SABOTAGE)[3:])],
)
def test_a_picture_graph_that_errs_is_refused_with_and_without_a_champion(
    bundle: Path,
    evaluator: Evaluator,
    lenient_rules: Path,
    images: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr("mnistnet.gate.judge.ROUNDS", 3)
    measured = []
    monkeypatch.setattr(
        "mnistnet.gate.judge.verify", lambda folder: measured.append(folder) or verify(folder)
    )
    edit, rules = SABOTAGE[name]
    verify(edit_picture_graph(bundle, edit, images[:50]))
    first = judge(bundle, rules=lenient_rules, evaluator=evaluator)
    assert refused(first) == rules, first.table()
    next_one = judge(bundle, DEFAULT_BUNDLE, rules=lenient_rules, evaluator=evaluator)
    relative = set() if rules == {"blank pages"} else {"not worse than champion on pictures"}
    assert refused(next_one) == rules | relative, next_one.table()
    assert measured.count(bundle) == 1  # for a new champion, the candidate is not measured again
