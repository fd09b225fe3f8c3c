"""Invalid arguments and hostile names: one clear line, exit code 2, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawing import Scene, draw_picture
from PIL import Image
from releases import Run

from mnistnet.inference.predictor import DEFAULT_BUNDLE

FULL = Path("/dev/full")  # Linux has a disk that always is


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is in no git repository, with a file and an empty folder."""
    (tmp_path / "garbage").write_bytes(bytes(range(256)))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "empty", "-o", "x"], "empty: is not a finished run"),
        (["predict", "x.png", "--threshold", "1.1"], "the threshold is 1.1; it lies between 0 and"),
        (["predict", "x.png", "--threshold", "-0.1"], "the threshold is -0.1; it lies between"),
        (["predict", "x.png", "--threshold", "nan"], "the threshold is nan; it lies between"),
        (["verify", "two\nlines\x1b[31mred"], "two?lines?[31mred: is not a bundle"),
        (["gate", DEFAULT_BUNDLE, "--rules", "garbage"], "garbage: "),
        (["publish", DEFAULT_BUNDLE], "this folder is in no git repository"),
        (["history", "--remote", "./empty"], "./empty: cannot be read"),
        (["pull", "-o", "garbage", "--remote", "./empty"], "garbage: cannot be written"),
        (["reproduce", "empty"], "empty: is not a bundle"),
        (["sign", DEFAULT_BUNDLE, "--key", "garbage"], "garbage: cannot be used as a private key"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("place")
def test_an_argument_that_cannot_be_used_is_an_error_of_one_line(
    arguments: list[str | Path], message: str, run: Run
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


ODD = ["\udcff", "\ud800", "nul\0", "a\nb\x1b[31m", "\u202e", "x" * 300, "", "\udcff/x.json"]
VERBS = [
    *(["predict", "NAME"], ["predict", "none", "--bundle", "NAME"], ["eval", "NAME"]),
    *(["export", "NAME", "-o", "out"], ["verify", "NAME"], ["gate", "NAME"], ["reproduce", "NAME"]),
    *(
        ["gate", str(DEFAULT_BUNDLE), "--rules", "NAME"],
        ["eval", str(DEFAULT_BUNDLE), "--data", "NAME"],
    ),
    *(["train", "--name", "NAME"], ["train", "--recipe", "NAME"], ["train", "--tracker", "NAME"]),
    ["train", "--resume", "--name", "NAME"],
    *(["history", "--remote", "NAME"], ["history", "--branch", "NAME"], ["rollback", "NAME"]),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.usefixtures("place")
def test_an_odd_name_is_an_error_of_one_printable_line(
    verb: list[str], tiny: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("MNISTNET_DATA", str(tiny))
    for name in ODD:
        code, _, err = run(*(word.replace("NAME", name) for word in verb))
        assert code == 2 or (code == 1 and len(err.splitlines()) == 1), err
        assert all(line.isprintable() for line in err.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_pictures_with_odd_names_are_read_evaluated_and_reported(tmp_path: Path) -> None:
    pictures = tmp_path / "\udcff" / "4"
    pictures.mkdir(parents=True)
    for name in ("\udcff.png", "a\nb\x1b[31m.png", "no suffix", "\u202e.png"):
        Image.new("L", (60, 60), 255).save(pictures / name, "PNG")
    four = draw_picture(4, Scene(), np.random.default_rng(1))
    Image.fromarray(four).save(pictures / "four.png")
    for verb in (["predict", b"\xff"], ["eval", DEFAULT_BUNDLE, "--quick", "--data", b"\xff"]):
        done = subprocess.run(
            [sys.executable, "-m", "mnistnet", *verb],
            cwd=tmp_path,
            env=os.environ | {"PYTHONIOENCODING": "ascii:strict"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout + done.stderr
    (report,) = (tmp_path / "reports").iterdir()
    assert len(json.loads((report / "report.json").read_bytes())["no_ink"]) == 4


@pytest.mark.skipif(not FULL.exists(), reason="there is no disk here that is always full")
def test_output_to_a_full_disk_is_an_error_of_one_line() -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mnistnet", "data"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "mnistnet: [Errno 28] No space left on device\n"
