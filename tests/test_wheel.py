"""What people install: a wheel under 1 MB that reads pictures where there is no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from drawing import Scene, draw_picture
from PIL import Image

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow  # makes an environment and fills it with pip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the built wheel and its base dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.stat().st_size < 1_000_000
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([str(python), *install, *constraints, str(wheel)], check=True)
    return python


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


def test_without_torch_training_says_how_to_install_it(python: Path) -> None:
    command = [str(python), "-m", "mnistnet", "train"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("mnistnet: torch is not installed")
    assert "mnistnet[train]" in done.stderr
