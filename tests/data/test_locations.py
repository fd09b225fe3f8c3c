from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs
import pytest

from mnistnet import data as datasets
from mnistnet.data import locations
from mnistnet.errors import DataError


def put(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_locations_are_tried_in_their_order(folder, elsewhere, tmp_path, monkeypatch):
    # Each is nearer than the one before, and wins though all the others are there.
    put(folder, tmp_path / "cache")
    assert datasets.load().source == str(tmp_path / "cache")

    put(folder, elsewhere / "data" / "MNIST" / "raw")
    assert Path(datasets.load().source) == Path("data/MNIST/raw")

    for file in folder.iterdir():  # next to `raw`, where the file system ignores case
        (elsewhere / "data" / "mnist").mkdir(exist_ok=True)
        shutil.copy(file, elsewhere / "data" / "mnist")
    assert Path(datasets.load().source) == Path("data/mnist")

    monkeypatch.setenv("MNISTNET_DATA", str(put(folder, tmp_path / "variable")))
    assert datasets.load().source == str(tmp_path / "variable")

    assert datasets.load(folder).source == str(folder)


def test_a_folder_without_idx_files_is_passed_over(folder, elsewhere, tmp_path):
    (elsewhere / "data" / "mnist").mkdir(parents=True)
    (elsewhere / "data" / "mnist" / "README.md").write_text("fetch them yourself")
    put(folder, tmp_path / "cache")

    assert datasets.load().source == str(tmp_path / "cache")


def test_a_folder_that_holds_a_part_of_a_data_set_is_an_error_not_passed_over(
    folder, elsewhere, tmp_path
):
    put(folder, tmp_path / "cache")
    put(folder, elsewhere / "data" / "mnist")
    (elsewhere / "data" / "mnist" / "train-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DataError, match="has no file train-labels-idx1-ubyte"):
        datasets.load()


def test_a_location_that_the_user_names_is_binding(folder, elsewhere, tmp_path, monkeypatch):
    put(folder, elsewhere / "data" / "mnist")

    with pytest.raises(DataError, match="nowhere: no such folder"):
        datasets.load(tmp_path / "nowhere")
    monkeypatch.setenv("MNISTNET_DATA", str(tmp_path / "unset"))
    with pytest.raises(DataError, match="unset: no such folder"):
        datasets.load()


def test_without_data_and_mirrors_one_line_says_what_to_do(elsewhere):
    with pytest.raises(DataError, match=r"there are no mirrors.*--data") as caught:
        datasets.load()

    assert "\n" not in str(caught.value)
    assert list(elsewhere.iterdir()) == []


def test_the_cache_is_the_users_own():
    expected = Path(platformdirs.user_cache_dir("mnistnet", appauthor=False))

    assert locations.cache_folder() == expected / "mnist"
