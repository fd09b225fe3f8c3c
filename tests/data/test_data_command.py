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


def test_verify_compares_with_mnist_and_exits_with_1_if_a_file_is_damaged_or_missing(folder):
    result = call("verify", "--data", str(MNIST_FOLDER))
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok"] * 4

    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    states = ["other", "damaged", "other", "missing"]
    result = call("verify", "--data", str(folder))
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == states

    result = call("verify", "--data", str(folder), "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["path"], report["usable"]) == (str(folder), False)
    assert [file["state"] for file in report["files"]] == states


def test_verify_without_any_data_says_so_and_downloads_nothing():
    result = call("verify")

    assert isinstance(result.exception, DataError)
    assert "--data" in str(result.exception)


@pytest.mark.parametrize("words", [["--data", "x", "verify"], ["--json", "verify"]])
def test_options_before_verify_are_refused_not_ignored(words):
    result = call(*words)

    assert result.exit_code == 2
    assert "put the options last" in result.output
