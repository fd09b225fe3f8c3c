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

PHOTO = Scene(
    height=1500, width=2000, digit_height=600, pen=0.07, paper=205, ink=55, gradient=60,
    ruling="squared", grain=6, jpeg=70,
)  # fmt: skip
SCAN = Scene(height=320, width=240, digit_height=260, pen=0.09, paper=250, ink=30)
CROP = Scene(height=16, width=14, digit_height=16, pen=0.18)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the built wheel and its base dependencies: its python."""
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


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """A photo on squared paper, a scan, and a tight crop of 16×16, of a 7, a 3 and a 2."""
    folder = tmp_path_factory.mktemp("pictures")
    found = {}
    for name, digit, scene in [
        ("photo.jpg", 7, PHOTO),
        ("scan.png", 3, SCAN),
        ("crop.png", 2, CROP),
    ]:
        picture = draw_picture(digit, scene, np.random.default_rng(digit))
        Image.fromarray(picture).save(folder / name)
        found[str(folder / name)] = digit
    return found


def test_torch_is_not_installed_with_it(installed: Path) -> None:
    done = subprocess.run([str(installed), "-c", "import torch"], capture_output=True, check=False)
    assert done.returncode == 1


def test_the_command_line_reads_a_photo_a_scan_and_a_tight_crop(
    installed: Path, pictures: dict[str, int]
) -> None:
    command = [str(installed), "-m", "mnistnet", "predict", "--json", *pictures]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {a["path"]: a["digit"] for a in answers} == pictures


def test_python_reads_them_too(installed: Path, pictures: dict[str, int]) -> None:
    code = """
import sys
from mnistnet import Predictor
print(*(Predictor().predict(path).digit for path in sys.argv[1:]))
"""
    done = subprocess.run(
        [str(installed), "-c", code, *pictures], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(digit) for digit in pictures.values()]


def test_what_needs_torch_says_how_to_install_it(installed: Path) -> None:
    command = [str(installed), "-m", "mnistnet", "train"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("mnistnet: torch is not installed")
    assert "mnistnet[train]" in done.stderr
