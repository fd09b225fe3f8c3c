"""What people install: a small wheel with the native engine, which reads pictures without torch.

And without the native engine, where it cannot be built.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from drawing import Scene, draw_picture
from PIL import Image

ROOT = Path(__file__).parent.parent
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")
CONSTRAINED = ("install", "-c", str(ROOT / "constraints.txt"))
FOLDER = "mnistnet/training/kernels"
LIBRARY = re.compile(rf"{FOLDER}/libmnistnet\.(so|dylib|dll)")

pytestmark = pytest.mark.slow  # makes environments and fills them with pip
with_a_compiler = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which(os.environ.get("CXX", "c++")),
    reason="there is no C++ compiler here that can build the native engine",
)


def _run(*words: str | Path, cwd: Path | None = None, **env: str) -> str:
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, cwd=cwd, env=os.environ | env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment(folder: Path) -> Path:
    """Make a virtual environment; return its interpreter."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from a source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    builder = _environment(folder / "venv")
    _run(builder, *PIP, *CONSTRAINED, "build")
    _run(builder, "-m", "build", "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the built wheel and its base dependencies."""
    python = _environment(tmp_path_factory.mktemp("installed"))
    _run(python, *PIP, *CONSTRAINED, wheel)
    return python


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is built, which holds nothing that was built before."""
    folder = tmp_path / "checkout"
    built = shutil.ignore_patterns("__pycache__", "libmnistnet.*")
    shutil.copytree(ROOT / "src", folder / "src", ignore=built)
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    return folder


def _libraries(names: list[str]) -> list[str]:
    return [name for name in names if LIBRARY.fullmatch(name)]


@with_a_compiler
def test_the_wheel_is_small_and_holds_the_native_engine_for_any_python(wheel: Path) -> None:
    assert re.fullmatch(r"mnistnet-[\d.]+-py3-none-(linux|macosx)_\w+\.whl", wheel.name)
    assert wheel.stat().st_size < 1_000_000
    names = ZipFile(wheel).namelist()
    assert len(_libraries(names)) == 1
    # These count in the fingerprint of code.
    assert {f"{FOLDER}/engine.cpp", f"{FOLDER}/flags.cmake"} <= set(names)


def test_the_source_distribution_holds_what_is_built_and_tested_but_no_data(wheel: Path) -> None:
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"CMakeLists.txt", f"src/{FOLDER}/engine.cpp", "tests/test_wheel.py"} <= names
    assert not [name for name in names if name.startswith(("data/", "runs/", "benchmarks/"))]
    assert not _libraries([name.removeprefix("src/") for name in names])


def test_without_a_working_compiler_the_wheel_is_pure_python(
    checkout: Path, tmp_path: Path
) -> None:
    (checkout / "src" / FOLDER / "libmnistnet.so").write_bytes(b"of an earlier build")
    command = (*PIP, "wheel", "--no-deps", "-w", tmp_path, checkout)
    _run(sys.executable, *command, CXX=shutil.which("false") or "false")
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = ZipFile(wheel).namelist()
    assert "mnistnet/models/default/digit.onnx" in names
    assert not _libraries(names)


@with_a_compiler
def test_an_editable_install_has_the_engine_next_to_its_sources_while_it_can_be_built(
    checkout: Path, tmp_path: Path
) -> None:
    python = _environment(tmp_path / "venv")
    unoptimised = "--config-settings=cmake.build-type=Debug"  # which compiles in less time
    install = (python, *PIP, "install", "--no-deps", unoptimised, "-e", checkout)
    place = (python, "-c", "import mnistnet; print(mnistnet.__file__)")
    src = checkout / "src"

    _run(*install)
    assert _run(*place, PYTHONPATH="") == f"{src / 'mnistnet' / '__init__.py'}\n"
    assert len(list((src / FOLDER).glob("libmnistnet.*"))) == 1
    other = ROOT / "src"  # another checkout, as PYTHONPATH names it, is what is imported
    assert _run(*place, PYTHONPATH=str(other)) == f"{other / 'mnistnet' / '__init__.py'}\n"

    _run(*install, CXX=shutil.which("false") or "false")
    assert _run(*place, PYTHONPATH="") == f"{src / 'mnistnet' / '__init__.py'}\n"
    assert not list((src / FOLDER).glob("libmnistnet.*"))


def test_the_installed_command_reads_pictures_and_writes_a_report(
    python: Path, tmp_path: Path
) -> None:
    digits = {}
    for name in ("7/photo.jpg", "3/scan.png", "2/own.gif"):
        path, digit = tmp_path / "mine" / name, int(name[0])
        path.parent.mkdir(parents=True)
        picture = draw_picture(digit, Scene(), np.random.default_rng(digit))
        Image.fromarray(picture).save(path)
        digits[str(path)] = digit
    command = [str(python), "-m", "mnistnet", "predict", "--json", *digits]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    assert {p["path"]: p["digit"] for p in predictions} == digits

    bundle = ROOT / "src" / "mnistnet" / "models" / "default"
    options = ["--data", str(tmp_path / "mine"), "--quick", "-o", str(tmp_path / "report")]
    command = [str(python), "-m", "mnistnet", "eval", str(bundle), *options]
    subprocess.run(command, capture_output=True, check=True)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "It classifies 3 of 3 pictures correctly" in page


@with_a_compiler
def test_the_installed_command_trains_without_torch(python: Path, tmp_path: Path) -> None:
    data = ROOT / "data" / "mnist"
    trained = _run(python, "-m", "mnistnet", "train", "--data", data, cwd=tmp_path)
    assert "Engine: native" in trained
    assert (tmp_path / "runs" / "fast-1" / "weights.safetensors").is_file()


def test_training_with_pytorch_says_how_to_install_it(python: Path) -> None:
    command = [str(python), "-m", "mnistnet", "train", "--engine", "torch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("mnistnet: torch is not installed")
    assert "mnistnet[train]" in done.stderr
