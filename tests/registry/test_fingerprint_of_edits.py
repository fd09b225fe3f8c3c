"""What an edit of the source, of a pin or of a recipe leads to: training, an export, or nothing.

Each is made in a copy of the source, against a bundle that the copy was the origin of.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from releases import Run

import mnistnet
from mnistnet import data as datasets
from mnistnet.bundle.manifest import MANIFEST, read_manifest
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.provenance import ExportRecord, export_basis, training_basis
from mnistnet.training.recipe import RELEASE

SOURCE = Path(mnistnet.__file__).parent
PINS = Path(__file__).parents[2] / "constraints.txt"
NOTHING, EXPORT, TRAIN = (False, False), (False, True), (True, True)
# What is edited, a text in it, what takes its place, and what there is then to do. A text that is
# empty stands for the file's end.
EDITS = [
    # what the weights depend on
    ("training/fit.py", "recipe.seed", "(recipe.seed + 1)", TRAIN),
    ("training/engine.py", "EPSILON = 1e-8", "EPSILON = 1e-7", TRAIN),
    ("training/kernels/batchnorm.h", "square > 0", "square > 1", TRAIN),
    ("model/architecture.py", "STD = 0.3081", "STD = 0.3", TRAIN),
    ("constraints.txt", "\ntorch==", "\ntorch==9", TRAIN),
    ("recipe.json", '"epochs": 24', '"epochs": 23', TRAIN),
    # what is made of them
    ("picture/ink.py", "position < 0.9", "position < 0.8", EXPORT),
    ("bundle/graph_file.py", "OPSET = 20", "OPSET = 21", EXPORT),
    ("bundle/export_run.py", "single digits 0–9", "one digit", EXPORT),
    ("report/build.py", "SHOWN_MISTAKES = 24", "SHOWN_MISTAKES = 12", EXPORT),
    ("data/strokes.py", "shake: float = 0.02", "shake: float = 0.03", EXPORT),
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
    ("training/recipe.py", "RECIPES:", "OTHER = Recipe(name='other')\nRECIPES:", NOTHING),
    ("training/tracking/mlflow.py", "", "WAIT_S = 9\n", NOTHING),
    ("data/download.py", "", "MIRRORS_TRIED = 9\n", NOTHING),
    ("errors.py", "", "class OtherError(MnistNetError): ...\n", NOTHING),
    ("cli/predict.py", "", "COLOUR = True\n", NOTHING),
    ("constraints.txt", "\npytest==", "\npytest==9", NOTHING),
    ("recipe.json", '"name": "release"', '"name": "mine"', NOTHING),
]


@pytest.fixture(scope="module")
def bundle(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest that names what is here as its origin."""
    training = training_basis(RELEASE.as_dict(), datasets.load(tiny).sha256, constraints=PINS)
    export = export_basis(constraints=PINS)
    manifest = read_manifest(DEFAULT_BUNDLE)
    fields = {name: getattr(training, name) for name in ("recipe", "data", "versions", "inputs")}
    record = ExportRecord(manifest.origin.source, export.versions, export.inputs)
    origin = dataclasses.replace(manifest.origin, **fields)
    folder = tmp_path_factory.mktemp("bundle")
    content = dataclasses.replace(manifest, origin=origin, export=record).to_bytes()
    (folder / MANIFEST).write_bytes(content)
    return folder


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the source, which takes the program's place; and pins and a recipe in it."""
    ignored = shutil.ignore_patterns("__pycache__", "models")
    package = shutil.copytree(SOURCE, tmp_path / "mnistnet", ignore=ignored)
    shutil.copy(PINS, package)
    (package / "recipe.json").write_text(json.dumps(RELEASE.as_dict()))
    monkeypatch.setattr(mnistnet, "__file__", str(package / "__init__.py"))
    return package


def _what_to_do(copy: Path, bundle: Path, tiny: Path, run: Run) -> tuple[bool, bool]:
    """Whether there is anything to train, and whether there is anything to export."""
    words = ("--data", tiny, "--against", bundle, "--answer", copy / "answer")
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
