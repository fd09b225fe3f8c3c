"""`mnistnet data` and `mnistnet data verify`: what is found where, and whether it is whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mnistnet.data import idx
from mnistnet.data.sets import KEYS

MNIST_FOLDER = Path(__file__).parents[2] / "data" / "mnist"
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = KEYS


@pytest.fixture(autouse=True)
def here(elsewhere: Path) -> Path:
    """The empty folder in which every command of this file runs."""
    return elsewhere


@pytest.fixture
def call(run):
    return lambda *words: run("data", *words)


def states(done) -> list[str]:
    """Return the state of each of the four files that were verified."""
    return [file["state"] for file in json.loads(done.out)["files"]]


def test_data_lists_what_is_where_and_which_is_used(call, folder, here, tmp_path, monkeypatch):
    monkeypatch.setenv("MNISTNET_DATA", str(MNIST_FOLDER))
    shutil.copytree(folder, here / "data" / "mnist")
    (tmp_path / "cache").mkdir()

    places = json.loads(call("--data", folder, "--json").out)["places"]

    assert places[0] == {
        "name": "--data",
        "path": str(folder),
        "used": True,
        "found": True,
        "what": "not MNIST: 20 training and 10 test images",
    }
    assert [(place["name"], place["found"]) for place in places[1:]] == [
        ("$MNISTNET_DATA", True),
        ("./data/mnist", True),
        ("./data/MNIST/raw", False),
        ("cache", False),
    ]
    assert places[1]["what"] == "MNIST: 60,000 training and 10,000 test images"
    assert places[2]["path"] == str(here / "data" / "mnist")
    assert "has no file" in places[4]["what"]
    assert not any(place["used"] for place in places[1:])


def test_data_lists_the_places_in_aligned_columns(call, folder):
    lines = call("--data", folder).out.splitlines()
    assert lines[0].startswith("*  --data            not MNIST: 20 training and 10 test images")
    assert lines[1].startswith("   ./data/mnist      nothing there ")
    assert len({line.index(str(folder.parent)) for line in lines[:-1]}) == 1
    assert lines[-1] == "* is used"

    assert call().out.splitlines()[-1].startswith("nothing found: MNIST will be downloaded")


def test_verify_exits_with_1_if_a_file_is_damaged_or_missing(call, folder):
    result = call("verify", "--data", MNIST_FOLDER)
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == ["ok"] * 4

    (folder / f"{TRAIN_LABELS}.gz").write_bytes(b"")
    (folder / f"{TEST_LABELS}.gz").unlink()
    result = call("verify", "--data", folder, "--json")
    report = json.loads(result.out)
    assert result.code == 1
    assert (report["path"], report["usable"]) == (str(folder), False)
    found = [(file["state"], file["count"]) for file in report["files"]]
    assert found == [("other", 20), ("damaged", None), ("other", 10), ("missing", None)]


def test_verify_detects_one_changed_pixel(call, mnist, tmp_path):
    images = mnist.test.images.copy()
    images[3, 14, 14] ^= 1
    idx.write(tmp_path / TEST_IMAGES, images)
    idx.write(tmp_path / TEST_LABELS, mnist.test.labels)

    assert states(call("verify", "--data", tmp_path, "--json")) == [
        "missing",
        "missing",
        "other",
        "ok",
    ]


def test_verify_detects_labels_that_do_not_match_their_images_in_number(call, folder, arrays):
    idx.write(folder / f"{TEST_LABELS}.gz", arrays[TEST_LABELS][:-1])
    lines = call("verify", "--data", folder).out.splitlines()
    assert [line.split()[0] for line in lines] == ["other", "other", "other", "damaged"]
    assert lines[3].endswith("holds 9 labels for 10 images")


def test_verify_reads_an_archive_array_by_array(call, folder, arrays):
    np.savez(folder / "some.npz", **dict(zip(KEYS.values(), arrays.values(), strict=True)))
    assert states(call("verify", "--data", folder / "some.npz", "--json")) == ["other"] * 4


def test_verify_without_any_data_is_an_error_and_downloads_nothing(call):
    result = call("verify")

    assert (result.code, result.out) == (2, "")
    assert "name its folder with --data" in result.err


def test_options_may_stand_before_verify(call, folder):
    result = call("--json", "--data", folder, "verify")

    assert result.code == 0
    assert json.loads(result.out)["path"] == str(folder)
