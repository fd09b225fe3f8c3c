"""`mnistnet predict`: its lines, its JSON and its exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawing import Scene, draw_picture
from PIL import Image

from mnistnet import Predictor
from mnistnet.inference.predictor import DEFAULT_BUNDLE, HYPOTHESES

LINE = r"\d  \d{2,3}\.\d%(  not sure)?( \(or \d, \d\d\.\d%\))?"
NOT_IMPORTED = ("torch", "onnx", "jinja2", "tqdm", "platformdirs", "scipy", "safetensors")


@pytest.fixture
def predict(folder: Path, monkeypatch: pytest.MonkeyPatch, run) -> Callable[..., Any]:
    """Calls the command in this process, in the folder of pictures unless another is named."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # the command would set it for good

    def predict(*arguments: object, cwd: Path = folder, stdin: bytes = b"") -> Any:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return run("predict", *arguments)

    return predict


def _digit(digit: int) -> Image.Image:
    return Image.fromarray(draw_picture(digit, Scene(), np.random.default_rng(1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures at two depths, one of them damaged, one blank, and files that are none."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "a").mkdir()
    (folder / ".thumbnails").mkdir()
    _digit(1).save(folder / "one.PNG")
    _digit(4).save(folder / "four.jpg")
    _digit(2).save(folder / "b" / "deep" / "two.webp")
    (folder / "a" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Image.new("L", (90, 90), 255).save(folder / "b" / "blank.gif")
    (folder / "a" / "notes.txt").write_text("no picture")
    (folder / "._one.PNG").write_bytes(b"left by macOS")
    (folder / ".thumbnails" / "one.png").write_bytes(b"no picture")
    return folder


def test_each_picture_is_a_line_with_its_file_its_digit_and_its_confidence(predict) -> None:
    done = predict("one.PNG", "four.jpg", "b/blank.gif")
    one, four, blank = done.out.splitlines()
    assert re.fullmatch(r"one\.PNG: " + LINE, one)
    assert one.startswith("one.PNG: 1  ")
    assert four.startswith("four.jpg: 4  ")
    assert blank == "b/blank.gif: no digit (there is no ink in the picture)"
    assert (done.code, done.err) == (0, "")


def test_a_close_second_guess_is_named(predict, tmp_path: Path) -> None:
    two, four = (np.asarray(_digit(digit), float) for digit in (2, 4))
    blends = (
        Image.fromarray((w * four + (1 - w) * two).astype(np.uint8))
        for w in np.linspace(0.3, 0.7, 41)
    )
    predictor = Predictor()
    doubtful = next(b for b in blends if predictor.predict(b).second_guess()[1] > 0.15)
    doubtful.save(tmp_path / "it.png")
    line = predict("it.png", cwd=tmp_path).out
    assert re.fullmatch(r"it\.png: \d  \d\d\.\d%(  not sure)? \(or \d, \d\d\.\d%\)\n", line)


def test_a_folder_is_read_in_order_without_hidden_files_and_one_bad_file_stops_nothing(
    predict,
) -> None:
    done = predict(".")
    names = [line.split(":")[0] for line in done.out.splitlines()]
    assert names == [
        "four.jpg",
        "one.PNG",
        *map(str, (Path("b/blank.gif"), Path("b/deep/two.webp"))),
    ]
    assert done.err.startswith(f"mnistnet: {Path('a/damaged.png')}: is damaged")
    assert done.err.splitlines()[1:] == [".: 1 other file left out, no pictures"]
    assert done.code == 1


def test_json_is_one_object_a_picture(predict) -> None:
    done = predict("--json", "one.PNG", "a/damaged.png", "b/blank.gif", "none.png")
    one, damaged, blank, none = map(json.loads, done.out.splitlines())
    assert set(one) == {"path", "digit", "confidence", "sure", "probabilities", "hypothesis"}
    assert (one["path"], one["digit"]) == ("one.PNG", 1)
    assert one["confidence"] == max(one["probabilities"]) == one["probabilities"][1]
    assert len(one["probabilities"]) == 10
    assert sum(one["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert set(damaged) == set(none) == {"path", "error"}
    assert damaged["path"] == "a/damaged.png"
    assert none["error"] == "none.png: there is no such file"
    assert set(blank) == {*one, "reason"}
    assert (blank["digit"], blank["sure"]) == (None, False)
    assert blank["reason"] == "there is no ink in the picture"
    assert (done.code, done.err) == (1, "")


def test_a_dash_is_standard_input(predict, folder: Path) -> None:
    done = predict("-", stdin=(folder / "four.jpg").read_bytes())
    assert done.code == 0
    assert done.out.startswith("-: 4  ")
    empty = predict("-", "one.PNG")
    assert (empty.code, empty.err) == (1, "mnistnet: standard input: is empty\n")
    assert empty.out.startswith("one.PNG: 1  ")


def test_show_draws_what_the_network_was_shown(predict) -> None:
    lines = predict("--show", "one.PNG").out.splitlines()
    assert len(lines) == 1 + 14 + 1
    assert lines[-1].removeprefix("taken for: ") in HYPOTHESES
    assert any("█" in line for line in lines[5:10])
    assert not any("█" in line for line in lines[1:2])
    done = predict("--show", "--json", "one.PNG")
    assert json.loads(done.out)["digit"] == 1
    assert len(done.err.splitlines()) == 14 + 1  # not among the JSON


def test_below_the_threshold_a_prediction_is_not_sure(predict, tmp_path: Path) -> None:
    assert "not sure" in predict("--threshold", "1", "four.jpg").out
    assert json.loads(predict("--threshold", "1", "--json", "four.jpg").out)["sure"] is False
    shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    (tmp_path / "bundle" / "manifest.json").write_text(json.dumps(manifest | {"threshold": 1}))
    with_bundle = ("--bundle", tmp_path / "bundle", "four.jpg")
    assert "not sure" in predict(*with_bundle).out
    assert "not sure" not in predict("--threshold", "0.3", *with_bundle).out


def test_pictures_in_a_folder_are_found_by_how_they_start_and_others_are_counted(
    predict, tmp_path: Path
) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    for name in ("a.jfif", "b.JPE", "c.pjpeg", "no-suffix", "photo.txt"):
        _digit(1).save(inside / name, "JPEG")
    _digit(1).save(inside / "d.dib", "BMP")
    _digit(1).save(inside / "e.avif")
    (inside / "notes.txt").write_text("no picture")
    (inside / "film.mov").write_bytes(b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(200))
    os.mkfifo(inside / "pipe")
    (inside / "circle").symlink_to("circle")
    done = predict("in", cwd=tmp_path)
    assert [line.partition(": ")[2][:3] for line in done.out.splitlines()] == ["1  "] * 7
    assert (done.code, done.err) == (0, "in: 4 other files left out, no pictures\n")
    film = predict("in/film.mov", cwd=tmp_path)
    assert film.err.startswith("mnistnet: in/film.mov: is a film, not a picture of pixels")


def test_a_folder_without_pictures_or_that_cannot_be_read_is_reported(
    predict, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    done = predict("empty", cwd=tmp_path)
    assert done.code == 1
    assert done.err.startswith("mnistnet: empty: holds no pictures")

    closed = tmp_path / "in" / "closed"
    closed.mkdir(parents=True)
    _digit(1).save(tmp_path / "in" / "one.png")
    closed.chmod(0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("this user may read every folder")
        done = predict("in", cwd=tmp_path)
    finally:
        closed.chmod(0o700)
    assert "closed: is a folder that cannot be read" in done.err
    assert ": 1  " in done.out
    assert done.code == 1


def test_links_in_a_circle_end(predict, tmp_path: Path) -> None:
    _digit(1).save(tmp_path / "one.png")
    try:
        (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    except OSError:
        pytest.skip("this user may not make links")
    done = predict(".", cwd=tmp_path)
    assert [line.split(":")[0] for line in done.out.splitlines()] == ["one.png"]
    assert done.err.startswith("mnistnet: loop.png: ")
    assert done.code == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such names")
def test_a_files_name_cannot_break_the_line_or_steer_the_terminal(predict, tmp_path: Path) -> None:
    name = "a\nb\x1b[31m.png"
    _digit(1).save(tmp_path / name)
    done = predict(name, "none\n.png", cwd=tmp_path)
    assert done.out.startswith("a?b?[31m.png: 1  ")
    assert done.err == "mnistnet: none?.png: there is no such file\n"
    assert json.loads(predict("--json", name, cwd=tmp_path).out)["path"] == name


def test_a_warning_of_the_decoder_is_not_shown(predict, tmp_path: Path) -> None:
    file = io.BytesIO()
    _digit(1).save(file, "TIFF", description="x" * 100)
    content = file.getvalue().replace(b"\x0e\x01\x02\x00\x65", b"\x0e\x01\x02\x00\xff")
    content = content.replace(b"\xff\0\0\0", b"\xff\xff\xff\x00", 1)
    (tmp_path / "odd.tif").write_bytes(content)  # a tag that is longer than the file
    with pytest.warns(UserWarning, match="larger than file"):
        Image.open(io.BytesIO(content))
    done = predict("odd.tif", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")


def test_nothing_is_imported_that_predicting_does_not_use(folder: Path, python) -> None:
    program = """
import sys
from mnistnet.cli import cli
assert cli(["predict", "one.PNG"], standalone_mode=False) == 0
print(*sys.modules)
"""
    imported = set(python(program, cwd=folder).stdout.splitlines()[-1].split())
    assert imported >= {"numpy", "onnxruntime", "PIL"}
    assert imported.isdisjoint(NOT_IMPORTED)
