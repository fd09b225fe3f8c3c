"""`mnistnet fingerprint`: a hash of what the weights depend on, and one of what a bundle does."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from releases import Python, RecordingGate, Run, seal

import mnistnet
from mnistnet import data as datasets
from mnistnet.bundle.documents import card
from mnistnet.bundle.manifest import INPUTS, MANIFEST, read_manifest
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.provenance import Basis, Step, export_basis, training_basis
from mnistnet.registry.publish import publish
from mnistnet.training.recipe import RELEASE

ROOT = Path(__file__).parent.parent.parent
PINS = ROOT / "constraints.txt"
SOURCE = Path(mnistnet.__file__).parent


@pytest.fixture(scope="module")
def bundle(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle's manifest, which says that it was made from what is here and of the pins."""
    folder = tmp_path_factory.mktemp("bundle")
    _write(folder, **_recorded(tiny))
    return folder


@pytest.fixture
def champion(bundle: Path, tmp_path: Path) -> Path:
    """The same, to change."""
    return shutil.copytree(bundle, tmp_path / "champion")


def _recorded(tiny: Path) -> dict[str, Any]:
    """What a manifest records of a training with what is here."""
    basis = training_basis(RELEASE.as_dict(), datasets.load(tiny).sha256, constraints=PINS)
    return {name: getattr(basis, name) for name in ("recipe", "data", "versions", "inputs")}


def _write(folder: Path, **changes: Any) -> None:
    """Write a manifest, of the one there or of the shipped bundle's, with another origin."""
    manifest = read_manifest(folder if (folder / MANIFEST).exists() else DEFAULT_BUNDLE)
    origin = dataclasses.replace(manifest.origin, **changes)
    content = dataclasses.replace(manifest, origin=origin, export=_exported()).to_bytes()
    (folder / MANIFEST).write_bytes(content)


def _exported() -> Step:
    """The record of an export from what is here."""
    basis = export_basis(constraints=PINS)
    return Step({"commit": "ab" * 20, "dirty": False}, basis.versions, basis.inputs)


def _words(tiny: Path, champion: Path) -> tuple[str | Path, ...]:
    return "--data", tiny, "--constraints", PINS, "--against", champion


def test_the_fingerprint_is_one_hash_over_those_of_code_recipe_data_and_versions(
    tiny: Path, run: Run
) -> None:
    code, out, _ = run("fingerprint", "--data", tiny, "--json")
    *lines, last = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == [*INPUTS, "export"]
    assert dict(line.split() for line in lines) == json.loads(last)["fingerprint"]


@pytest.mark.parametrize("recipe", [{"name": "x", "epochs": 2}, {"epochs": 2.0, "name": "y"}])
def test_the_hash_of_given_inputs_never_changes(recipe: dict[str, Any]) -> None:
    """A fingerprint is compared with one that an older program wrote, of the recipe's values."""
    basis = Basis("c0" * 32, recipe, {"a": "da" * 32}, {"torch": "2.13.0"})
    for_ever = "badb2255eda979c903ad74a70fcd03849371a6d340f98325a66dd40ae7828c1c"
    assert basis.inputs["all"] == for_ever


def test_another_fingerprint_is_exit_code_1_and_what_differs(
    champion: Path, tiny: Path, tmp_path: Path, run: Run
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(RELEASE.replacing(epochs=23).as_dict()))
    pins = tmp_path / "constraints.txt"
    text = PINS.read_text().replace("\nonnx==", "\nonnx==9")
    pins.write_text(re.sub("\ntorch==.*", "\ntorch==2.99.0+cpu  # new", text))
    inputs = _recorded(tiny)["inputs"]
    _write(champion, inputs=inputs | {"code": "0" * 64, "data": "1" * 64})
    others = ("--recipe", recipe, "--constraints", pins)
    code, out, _ = run("fingerprint", *_words(tiny, champion), *others)
    assert code == 1
    assert [line.split(" since")[0] for line in out.splitlines()] == [
        "code: changed",
        "recipe: epochs was 24, is 23",
        "data: changed",
        "versions: torch was '2.13.0', is '2.99.0'",
        "export: versions: onnx was '1.23.2', is '91.23.2'",
        f"{champion}: was trained from other inputs than here; there is something to train",
    ]


def test_a_bundle_of_which_other_code_trained_an_earlier_part_is_to_be_trained_again(
    champion: Path, tiny: Path, run: Run
) -> None:
    origin = read_manifest(champion).origin
    assert origin.inputs
    source = {"commit": "12" * 20, "dirty": False}
    part = Step(source, origin.versions, origin.inputs | {"code": "0" * 64})
    _write(champion, earlier={"1": part})
    code, out, _ = run("fingerprint", "--data", tiny, "--against", champion)
    assert code == 1
    assert out.splitlines()[0] == f"code: changed since commit {'12' * 20}"


def test_markdown_lists_what_differs_and_escapes_names(
    champion: Path, tiny: Path, run: Run
) -> None:
    _write(champion, recipe={"learning_rate": "<b>"}, inputs=dict.fromkeys(INPUTS, "0" * 64))
    _, out, _ = run("fingerprint", *_words(tiny, champion), "--markdown")
    *found, nothing, verdict = out.splitlines()
    assert nothing == ""
    assert verdict.endswith("was trained from other inputs than here; there is something to train")
    assert rf"- recipe: learning\_rate was '\<b\>', is {RELEASE.learning_rate}" in found
    assert all(line.startswith("- ") for line in found)


def test_the_answer_is_appended_to_a_file_and_the_exit_code_is_0_for_both_answers(
    champion: Path, tiny: Path, tmp_path: Path, run: Run
) -> None:
    answer = tmp_path / "output"
    answer.write_text("other=1\n")
    words = (*_words(tiny, champion), "--answer", answer)
    assert run("fingerprint", *words)[0] == 0
    assert run("fingerprint", *words, "--recipe", "fast")[0] == 0
    neither, both = "train=false\nexport=false\n", "train=true\nexport=true\n"
    assert answer.read_text() == f"other=1\n{neither}{both}"
    code, _, err = run("fingerprint", *words, "--recipe", "none-such")
    assert code == 2
    assert answer.read_text().count("train=") == 2
    code, _, err = run("fingerprint", *words[:-1], tmp_path)
    assert code == 2
    assert f"{tmp_path}: cannot be written" in err


@pytest.mark.usefixtures("clone")
def test_against_the_champion_of_the_registry(ada: Path, tiny: Path, run: Run) -> None:
    words = ("--data", tiny, "--constraints", PINS, "--against-champion", "--json")
    code, out, _ = run("fingerprint", *words)
    assert code == 1
    first = ["nothing is published yet on branch models", "there is something to train"]
    assert out.splitlines()[:-1] == first
    publish(ada, gate=RecordingGate())
    code, out, _ = run("fingerprint", *words)
    assert code == 1
    verdict = "v1: was trained from other inputs than here; there is something to train"
    assert out.splitlines()[-2] == verdict
    recorded = _recorded(tiny) | {"export": dataclasses.asdict(_exported())}
    manifest = read_manifest(seal(ada, **recorded))
    (ada / "README.md").write_bytes(card(manifest))
    publish(seal(ada), gate=RecordingGate())
    code, out, _ = run("fingerprint", *words)
    assert code == 0
    same = "v2: was trained from the same inputs as here; there is nothing to train or to export"
    assert out.splitlines()[0] == same
    assert json.loads(out.splitlines()[-1])["same"]
    assert run("fingerprint", *words, "--branch", "other")[0] == 1


def test_a_bundle_without_a_fingerprint_is_to_be_trained_again(
    champion: Path, tiny: Path, run: Run
) -> None:
    _write(champion, inputs=None)
    code, out, _ = run("fingerprint", *_words(tiny, champion))
    assert code == 1
    assert "before fingerprints were recorded" in out


def test_a_fingerprint_with_constraints_needs_no_torch(tiny: Path, python: Python) -> None:
    block = "import sys; sys.modules.update(torch=None, safetensors=None); "
    block += "from mnistnet.cli import main; main(sys.argv[1:])"
    done = python(block, "fingerprint", "--data", tiny, "--constraints", PINS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        (None, "pins.txt: cannot be read (No such file"),
        (b"torch==2.13.0\n", "does not pin numpy"),
        (b"torch==2.13.0\nnumpy==2.4.6\nonnxruntime==1.32.0\n", "does not pin onnx"),
        (b"\xff\xfe\x00", "is not a text file"),
    ],
)
def test_unusable_constraints_are_refused(
    tiny: Path, tmp_path: Path, pins: bytes | None, words: str, run: Run
) -> None:
    file = tmp_path / "pins.txt"
    if pins:
        file.write_bytes(pins)
    code, _, err = run("fingerprint", "--data", tiny, "--constraints", file)
    assert code == 2
    assert words in err


# ---- what an edit of the source, of a pin or of a recipe leads to


NOTHING, EXPORT, TRAIN = (False, False), (False, True), (True, True)
# What is edited, a text in it, what takes its place, and what there is then to do. A text that is
# empty stands for the file's end.
EDITS = [
    # what the weights depend on
    ("training/examples.py", "smoothing / 10", "smoothing / 9", TRAIN),
    ("training/engine.py", "EPSILON = 1e-8", "EPSILON = 1e-7", TRAIN),
    ("training/kernels/batchnorm.h", "square > 0", "square > 1", TRAIN),
    ("training/kernels/flags.cmake", "-fno-math-errno", "-ffast-math", TRAIN),
    ("data/strokes.py", "shake: float = 0.02", "shake: float = 0.03", TRAIN),
    ("model/architecture.py", "STD = 0.3081", "STD = 0.3", TRAIN),
    ("constraints.txt", "\ntorch==", "\ntorch==9", TRAIN),
    ("recipe.json", '"epochs": 24', '"epochs": 23', TRAIN),
    # what is made of them
    ("picture/ink.py", "nearest > 0.9", "nearest > 0.8", EXPORT),
    ("bundle/graph_file.py", "OPSET = 20", "OPSET = 21", EXPORT),
    ("bundle/documents.py", "single digits 0–9", "one digit", EXPORT),
    ("files.py", "indent=2", "indent=1", EXPORT),
    ("text.py", "|#!~&]", "|#!~&$]", EXPORT),  # in the card
    ("provenance/__init__.py", "if value is not None}", "if value}", EXPORT),
    ("bundle/runtime.py", '("ink", "bool", [])', '("any", "bool", [])', EXPORT),
    ("bundle/weights.py", "EPSILON = 1e-5", "EPSILON = 1e-6", EXPORT),
    ("report/build.py", "SHOWN_MISTAKES = 24", "SHOWN_MISTAKES = 12", EXPORT),
    ("constraints.txt", "\nonnx==", "\nonnx==9", EXPORT),
    # neither
    ("training/fit.py", '"""', '"""Once more: ', NOTHING),
    (
        "training/kernels/dispatch.cpp",
        "#include <cstring>",
        "/* a\n  comment */ #include  <cstring> //",
        NOTHING,
    ),
    ("picture/ink.py", "BINS = 256\n", "BINS = (\n    256\n)  # of brightness\n", NOTHING),
    ("picture/ink.py", "\n", "\r\n", NOTHING),  # as git on Windows writes it
    ("bundle/verify.py", "", "CHECKED = True\n", NOTHING),
    ("bundle/weights.py", "train again", "train it again", NOTHING),
    ("text.py", '"  ".join(cells)', '" ".join(cells)', NOTHING),
    ("training/recipe.py", "RECIPES:", "OTHER = Recipe(name='other')\nRECIPES:", NOTHING),
    ("training/tracking/mlflow.py", "", "WAIT_S = 9\n", NOTHING),
    ("data/download.py", "", "MIRRORS_TRIED = 9\n", NOTHING),
    ("files.py", "os.fsync(descriptor)", "os.fdatasync(descriptor)", NOTHING),
    ("errors.py", "", "class OtherError(MnistNetError): ...\n", NOTHING),
    ("cli/predict.py", "", "COLOUR = True\n", NOTHING),
    ("constraints.txt", "\npytest==", "\npytest==9", NOTHING),
    ("recipe.json", '"name": "release"', '"name": "mine"', NOTHING),
]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the source, which takes the program's place; and pins and a recipe in it."""
    ignored = shutil.ignore_patterns("__pycache__", "models", "*.so")
    package = shutil.copytree(SOURCE, tmp_path / "mnistnet", ignore=ignored)
    shutil.copy(PINS, package)
    (package / "recipe.json").write_text(json.dumps(RELEASE.as_dict()))
    monkeypatch.setattr(mnistnet, "__file__", str(package / "__init__.py"))
    return package


def _what_to_do(copy: Path, bundle: Path, tiny: Path, run: Run) -> tuple[bool, bool]:
    """Whether there is anything to train, and whether there is anything to export."""
    words = (*_words(tiny, bundle), "--answer", copy / "answer")
    words += ("--recipe", copy / "recipe.json", "--constraints", copy / "constraints.txt")
    code, _, err = run("fingerprint", *words)
    assert code == 0, err
    answers = dict(re.findall("(train|export)=(true|false)", (copy / "answer").read_text()))
    return answers["train"] == "true", answers["export"] == "true"


@pytest.mark.parametrize(("place", "old", "new", "expected"), EDITS)
def test_an_edit_leads_to_training_to_an_export_or_to_nothing(
    place: str,
    old: str,
    new: str,
    expected: tuple[bool, bool],
    copy: Path,
    bundle: Path,
    tiny: Path,
    run: Run,
) -> None:
    text = (copy / place).read_text(encoding="utf-8")
    assert old in text
    edited = (
        text.replace(old, new) if old == "\n" else text.replace(old, new, 1) if old else text + new
    )
    (copy / place).write_bytes(edited.encode())
    assert _what_to_do(copy, bundle, tiny, run) == expected


def test_a_new_file_counts_as_soon_as_one_that_counts_imports_it(
    copy: Path, bundle: Path, tiny: Path, run: Run
) -> None:
    (copy / "picture" / "shade.py").write_text("DARKEST = 0\n")
    assert _what_to_do(copy, bundle, tiny, run) == NOTHING
    ink = copy / "picture" / "ink.py"
    ink.write_text(ink.read_text() + "from mnistnet.picture.shade import DARKEST\n")
    assert _what_to_do(copy, bundle, tiny, run) == EXPORT
    before = _code(copy)
    (copy / "picture" / "shade.py").write_text("DARKEST = 1\n")
    assert _code(copy) != before


@pytest.mark.slow
def test_every_python_gives_the_same_hash(copy: Path) -> None:
    for minor in range(11, 20):
        python = shutil.which(f"python3.{minor}")
        if python is None or subprocess.run([python, "-V"], capture_output=True).returncode:
            print(f"there is no Python 3.{minor} here to compare with")
        else:
            assert _code(copy, python) == _code(copy)


def _code(copy: Path, python: str = sys.executable) -> str:
    """Ask the program in a copy for both hashes."""
    ask = "from mnistnet.provenance.code import *; print(*map(code_digest, (TRAINING, EXPORT)))"
    words = [python, "-c", ask]
    done = subprocess.run(words, cwd=copy.parent, capture_output=True, text=True, check=True)
    return done.stdout
