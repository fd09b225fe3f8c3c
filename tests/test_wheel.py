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


def test_the_installed_command_reads_a_photo_a_scan_and_a_tight_crop(
    python: Path, tmp_path: Path
) -> None:
    digits = {}
    for name, digit, scene in [
        ("photo.jpg", 7, PHOTO),
        ("scan.png", 3, SCAN),
        ("crop.png", 2, CROP),
    ]:
        picture = draw_picture(digit, scene, np.random.default_rng(digit))
        Image.fromarray(picture).save(tmp_path / name)
        digits[str(tmp_path / name)] = digit
    command = [str(python), "-m", "mnistnet", "predict", "--json", *digits]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    assert {p["path"]: p["digit"] for p in predictions} == digits


def test_the_installed_command_writes_a_report(python: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "3").mkdir(parents=True)
    picture = draw_picture(3, SCAN, np.random.default_rng(3))
    Image.fromarray(picture).save(tmp_path / "mine" / "3" / "scan.png")
    bundle = ROOT / "src" / "mnistnet" / "models" / "default"
    options = ["--data", str(tmp_path / "mine"), "--quick", "-o", str(tmp_path / "report")]
    command = [str(python), "-m", "mnistnet", "eval", str(bundle), *options]
    subprocess.run(command, capture_output=True, check=True)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "It classifies 1 of 1 picture correctly" in page


def test_without_torch_training_says_how_to_install_it(python: Path) -> None:
    command = [str(python), "-m", "mnistnet", "train"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("mnistnet: torch is not installed")
    assert "mnistnet[train]" in done.stderr
