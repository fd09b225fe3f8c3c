"""`mnistnet trials` and `mnistnet summary`, through the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mnistnet.cli import GROUPS, VERBS, cli


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)


def test_trials_print_mean_deviation_and_interval_over_the_seeds(
    tiny: Path, tmp_path: Path
) -> None:
    options = ("--data", tiny, "--runs", tmp_path, "--json")
    done = _run("trials", "--seeds", 3, *options)
    seeds = [line for line in done.output.splitlines() if line.startswith("Seed: ")]
    assert [line.split(",")[0] for line in seeds] == ["Seed: 0", "Seed: 1", "Seed: 2"]
    summary = json.loads(done.output.splitlines()[-1])
    (file,) = (tmp_path / "trials").iterdir()
    accuracies = [json.loads(line)["accuracy"] for line in file.read_text("utf-8").splitlines()]
    assert summary["n"] == 3
    assert summary["judged_on"] == "test"
    assert summary["mean"] == pytest.approx(np.mean(accuracies))
    assert summary["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert summary["low"] < summary["mean"] < summary["high"]
    assert (summary["min"], summary["max"]) == (min(accuracies), max(accuracies))
    line = rf"Mean test accuracy: {summary['mean']:.3%} \(n = 3, 95% interval .*, min .*, max .*\)"
    assert re.search(line, done.output)


def test_validation_holds_out_the_last_training_images_and_evaluates_on_them(
    tiny: Path, tmp_path: Path
) -> None:
    options = ("--data", tiny, "--runs", tmp_path, "--validation", 100, "--json")
    trained = json.loads(_run("train", *options).output.splitlines()[-1])
    assert "validation_accuracy" in trained
    assert "test_accuracy" not in trained
    tried = json.loads(_run("trials", "--seeds", 1, *options).output.splitlines()[-1])
    assert tried["judged_on"] == "validation"
    assert tried["mean"] == trained["validation_accuracy"]


def test_summary_prints_every_layer_and_the_totals() -> None:
    text = _run("summary").output
    assert "Sequential: 1-1" in text
    assert "Linear: 2-22" in text
    assert "Total params: 20,826" in text


def test_help_lists_every_verb_and_imports_none() -> None:
    program = """
import sys
from mnistnet.cli import cli
cli(["--help"], standalone_mode=False)
print(*(m for m in sys.modules if m.startswith("mnistnet.cli.") or m == "numpy"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    text = done.stdout
    assert text.endswith("\n\n")  # the line of modules is empty
    headings = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert headings == ["Options", *GROUPS]
    for verb in VERBS:
        assert re.search(rf"^  {verb} +\w", text, re.MULTILINE)
        assert _run(verb, "--help").output.startswith(f"Usage: cli {verb} ")
