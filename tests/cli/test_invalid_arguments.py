"""Invalid arguments and hostile names: one clear line, exit code 2, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mnistnet.cli import main
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
        (["predict", "x.png", "--bundle", "garbage"], "garbage: is not a bundle"),
        (["predict", "x.png", "--threshold", "1.1"], "the threshold is 1.1; it lies between 0 and"),
        (["predict", "x.png", "--threshold", "-0.1"], "the threshold is -0.1; it lies between"),
        (["predict", "x.png", "--threshold", "nan"], "the threshold is nan; it lies between"),
        (["verify", "garbage"], "garbage: is not a bundle"),
        (["verify", "two\nlines\x1b[31mred"], "two?lines?[31mred: is not a bundle"),
        (["gate", "garbage"], "garbage: is not a bundle"),
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
    arguments: list[str | Path], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    lines = [
        line for line in printed.err.splitlines() if not line.endswith(" …") and line[0] != "…"
    ]
    assert (ended.value.code, printed.out, len(lines)) == (2, "", 1), printed.err
    assert lines[0].startswith("mnistnet: ")
    assert message in lines[0]


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
