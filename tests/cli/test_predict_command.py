"""`mnistnet predict` as a user meets it: real processes, their lines and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawing import Scene, draw_picture
from PIL import Image

from mnistnet import Predictor

LINE = r"\d  \d{2,3}\.\d%(  not sure)?( \(or \d, \d\d\.\d%\))?"
MAY_BE_IMPORTED = {"mnistnet", "click", "numpy", "onnxruntime", "PIL"}


def _predict(
    *arguments: str | Path, cwd: Path, given: bytes = b""
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "mnistnet", "predict", *map(str, arguments)],
        cwd=cwd,
        input=given,
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def _digit(digit: int) -> Image.Image:
    return Image.fromarray(draw_picture(digit, Scene(), np.random.default_rng(1)))


def _doubtful() -> bytes:
    """A 3 that is fading into an 8: one of the blends in which the second guess is close."""
    three, eight = (np.asarray(_digit(digit), float) for digit in (3, 8))
    predictor = Predictor()
    for share in np.linspace(0, 1, 101):
        blend = (share * eight + (1 - share) * three).astype(np.uint8)
        if predictor.predict(blend).second_guess()[1] > 0.15:
            file = io.BytesIO()
            Image.fromarray(blend).save(file, "PNG")
            return file.getvalue()
    raise AssertionError("no blend is doubtful")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures at two depths, one of them damaged, one blank, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "a").mkdir()
    (folder / "c").mkdir()
    _digit(1).save(folder / "c" / "last.bmp")
    _digit(1).save(folder / "one.PNG")
    _digit(4).save(folder / "four.jpg")
    _digit(2).save(folder / "b" / "deep" / "two.webp")
    (folder / "a" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Image.new("L", (90, 90), 255).save(folder / "b" / "blank.gif")
    (folder / "a" / "notes.txt").write_text("no picture")
    return folder


def test_a_picture_gives_a_line_with_its_file_its_digit_and_how_sure(folder: Path) -> None:
    done = _predict("one.PNG", "four.jpg", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    one, four = done.stdout.splitlines()
    assert re.fullmatch(r"one\.PNG: " + LINE, one)
    assert one.startswith("one.PNG: 1  ")
    assert four.startswith("four.jpg: 4  ")


def test_a_close_second_guess_is_named(tmp_path: Path) -> None:
    (tmp_path / "it.png").write_bytes(_doubtful())
    line = _predict("it.png", cwd=tmp_path).stdout
    assert re.fullmatch(r"it\.png: \d  \d\d\.\d%(  not sure)? \(or \d, \d\d\.\d%\)\n", line)


def test_a_folder_is_read_in_order_and_one_bad_file_stops_nothing(folder: Path) -> None:
    done = _predict(".", cwd=folder)
    names = [line.split(":")[0] for line in done.stdout.splitlines()]
    blank = str(Path("b", "blank.gif"))
    below = [blank, str(Path("b", "deep", "two.webp")), str(Path("c", "last.bmp"))]
    assert names == ["four.jpg", "one.PNG", *below]
    assert f"{blank}: no digit (there is no ink in the picture)" in done.stdout.splitlines()
    damaged = str(Path("a", "damaged.png"))
    assert done.stderr.startswith(f"mnistnet: {damaged}: is damaged")
    assert done.stderr.count("\n") == 1
    assert done.returncode == 1


def test_json_prints_one_object_a_picture(folder: Path) -> None:
    done = _predict("--json", "one.PNG", "a/damaged.png", "b/blank.gif", "none.png", cwd=folder)
    one, damaged, blank, none = map(json.loads, done.stdout.splitlines())
    assert set(one) == {"path", "digit", "confidence", "sure", "probabilities"}
    assert (one["path"], one["digit"]) == ("one.PNG", 1)
    assert one["confidence"] == max(one["probabilities"]) == one["probabilities"][1]
    assert len(one["probabilities"]) == 10
    assert sum(one["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert set(damaged) == set(none) == {"path", "error"}
    assert damaged["path"] == "a/damaged.png"
    assert none["error"] == "none.png: there is no such file"
    assert set(blank) == {"path", "digit", "confidence", "sure", "probabilities", "reason"}
    assert blank["digit"] is None
    assert blank["reason"] == "there is no ink in the picture"
    assert (done.returncode, done.stderr) == (1, "")


def test_a_dash_is_standard_input(folder: Path) -> None:
    done = _predict("-", cwd=folder, given=(folder / "four.jpg").read_bytes())
    assert done.returncode == 0
    assert done.stdout.startswith("-: 4  ")
    empty = _predict("-", "one.PNG", cwd=folder)
    assert (empty.returncode, empty.stderr) == (1, "mnistnet: standard input: is empty\n")
    assert empty.stdout.startswith("one.PNG: 1  ")


def test_show_draws_what_the_network_was_shown(folder: Path) -> None:
    lines = _predict("--show", "one.PNG", cwd=folder).stdout.splitlines()
    assert len(lines) == 1 + 14
    assert any("█" in line for line in lines[5:10])
    assert not any("█" in line for line in lines[1:2])
    apart = _predict("--show", "--json", "one.PNG", cwd=folder)
    assert json.loads(apart.stdout)["digit"] == 1  # the drawing is elsewhere
    assert len(apart.stderr.splitlines()) == 14


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["--fast", "one.PNG"], "No such option"),
        (["--bundle", "nowhere", "one.PNG"], "mnistnet: nowhere: is not a bundle"),
    ],
)
def test_wrong_words_exit_with_2(folder: Path, arguments: list[str], message: str) -> None:
    done = _predict(*arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_folder_without_pictures_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = _predict("empty", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("mnistnet: empty: holds no pictures")


def test_a_folder_that_cannot_be_read_is_reported(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "closed").mkdir(parents=True)
    (tmp_path / "in" / "one.png").write_bytes((folder / "one.PNG").read_bytes())
    (tmp_path / "in" / "closed").chmod(0)
    try:
        if os.access(tmp_path / "in" / "closed", os.R_OK):
            pytest.skip("this user may read every folder")
        done = _predict("in", cwd=tmp_path)
    finally:
        (tmp_path / "in" / "closed").chmod(0o700)
    assert "closed: is a folder that cannot be read" in done.stderr
    assert ": 1  " in done.stdout
    assert done.returncode == 1


def test_links_in_a_circle_end(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes((folder / "one.PNG").read_bytes())
    try:
        (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    except OSError:
        pytest.skip("this user may not make links")
    done = _predict(".", cwd=tmp_path)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["one.png"]
    assert done.stderr.startswith("mnistnet: loop.png: ")
    assert done.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such names")
def test_a_files_name_cannot_break_the_line_or_steer_the_terminal(
    folder: Path, tmp_path: Path
) -> None:
    name = "a\nb\x1b[31m.png"
    (tmp_path / name).write_bytes((folder / "one.PNG").read_bytes())
    done = _predict(name, "none\n.png", cwd=tmp_path)
    assert done.stdout.startswith("a?b?[31m.png: 1  ")
    assert done.stderr == "mnistnet: none?.png: there is no such file\n"
    assert json.loads(_predict("--json", name, cwd=tmp_path).stdout)["path"] == name


def test_a_warning_of_the_decoder_is_not_shown(tmp_path: Path) -> None:
    file = io.BytesIO()
    _digit(1).save(file, "TIFF", description="x" * 100)
    content = file.getvalue().replace(b"\x0e\x01\x02\x00\x65", b"\x0e\x01\x02\x00\xff")
    content = content.replace(b"\xff\0\0\0", b"\xff\xff\xff\x00", 1)
    (tmp_path / "odd.tif").write_bytes(content)  # a tag that is longer than the file
    with pytest.warns(UserWarning, match="larger than file"):
        Image.open(io.BytesIO(content))
    done = _predict("odd.tif", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_imports_nothing_that_it_does_not_use(folder: Path) -> None:
    """Of what is installed, onnxruntime itself may import more, and is asked what."""
    listing = """
import sys
sys.argv = ["mnistnet", *sys.argv[2:]] if sys.argv[1] == "main" else sys.argv
before = set(sys.modules)
if sys.argv[1] == "runtime":
    import numpy, onnxruntime
else:
    from mnistnet.cli import main
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        assert end.code == 0
names = {name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
print("modules", *(name for name in names if not name.startswith("_")))
"""

    def imported(*arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", listing, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.splitlines()[-1].split()[1:])

    predicting = imported("main", "predict", "one.PNG")
    assert predicting >= MAY_BE_IMPORTED
    assert predicting - imported("runtime") <= MAY_BE_IMPORTED
