from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mnistnet.cli.data import data
from mnistnet.errors import DataError

pytestmark = pytest.mark.usefixtures("elsewhere")
MNIST_FOLDER = Path(__file__).parents[2] / "data" / "mnist"


def call(*words: str) -> Result:
    return CliRunner().invoke(data, words)


def test_data_lists_the_places_in_aligned_columns(folder):
    result = call("--data", str(folder))

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("*  --data            not MNIST: 20 training and 10 test images")
    assert lines[1].startswith("   ./data/mnist      nothing there ")
    assert len({line.index(str(folder.parent)) for line in lines[:-1]}) == 1
    assert lines[-1] == "* is used"


def test_data_says_that_mnist_will_be_downloaded():
    assert call().stdout.splitlines()[-1].startswith("nothing found: MNIST will be downloaded")


def test_data_json_is_one_object():
    listed = json.loads(call("--data", str(MNIST_FOLDER), "--json").stdout)

    assert listed["places"][0] == {
        "name": "--data",
        "path": str(MNIST_FOLDER),
        "used": True,
        "found": True,
        "what": "MNIST: 60,000 training and 10,000 test images",
    }


def test_verify_says_ok_for_mnist():
    result = call("verify", "--data", str(MNIST_FOLDER))

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok"] * 4


def test_verify_exits_with_1_if_a_file_is_damaged(folder):
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"")

    result = call("verify", "--data", str(folder))

    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "other",
        "damaged",
        "other",
        "other",
    ]


def test_verify_json_is_one_object(folder):
    (folder / "train-labels-idx1-ubyte.gz").unlink()

    result = call("verify", "--data", str(folder), "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == 1
    assert report["path"] == str(folder)
    assert report["usable"] is False
    assert [file["state"] for file in report["files"]] == ["other", "missing", "other", "other"]


def test_verify_without_any_data_says_so_and_downloads_nothing():
    result = call("verify")

    assert isinstance(result.exception, DataError)
    assert "--data" in str(result.exception)


@pytest.mark.parametrize("words", [["--data", "x", "verify"], ["--json", "verify"]])
def test_options_before_verify_are_refused_not_ignored(words):
    result = call(*words)

    assert result.exit_code == 2
    assert "put the options last" in result.output
