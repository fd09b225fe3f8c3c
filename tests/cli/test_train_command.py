"""`mnistnet train`, `trials` and `summary` as a user meets them: output, exit codes and files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from releases import Python, Run

from mnistnet.cli import GROUPS, VERBS

ROOT = Path(__file__).parent.parent.parent


def _train(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_train_prints_layers_progress_accuracy_times_folder_and_json(
    few_digits: Path, tmp_path: Path
) -> None:
    done = _train("--data", few_digits, "--batch-size", "50", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert re.search(r"^total +20,826 ", text, re.MULTILINE)
    progress = r"^Batch: (\d+), Loss: \d\.\d{4}, Accuracy: \d\d\.\d\d%$"
    assert re.findall(progress, text, re.MULTILINE) == ["100", "120"]
    accuracy = r"^Test accuracy: \d\d\.\d\d% \(95% interval \d\d\.\d\d–\d\d\.\d\d\)$"
    assert re.search(accuracy, text, re.MULTILINE)
    times = (
        r"^Wall time: .* \(import .* s, data .* s, training .* s, evaluation .* s, pictures .* s\)$"
    )
    assert re.search(times, text, re.MULTILINE)
    assert re.search(r"^Results: runs.fast-1$", text, re.MULTILINE)
    assert done.stderr == ""  # no bar where there is no terminal
    result = json.loads(text.splitlines()[-1])
    assert set(result) == {"run", "seed", "test_accuracy", "wall_s", "images_per_s"}
    assert f"Test accuracy: {result['test_accuracy']:.2%}" in text
    assert result["test_accuracy"] > 0.9


WILD = ("--learning-rate", "10", "--weight-decay", "10", "--warmup", "0", "--epochs", "40")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "slow"], "mnistnet: no recipe is called 'slow'"),
        (["--batch-size", "60001"], "mnistnet: batch_size is 60001"),
        (["--batch-size", "700"], "mnistnet: batch_size is 700, but there are only 600 "),
        (["--batch-size", "50", *WILD], "training diverged; lower the learning rate"),
        (["--data", "nowhere"], "mnistnet: nowhere"),
        (["--name", "../elsewhere"], "cannot name a run"),
        (["--runs", "file"], "mnistnet: file: "),
        (["--tracker", "mlflow=ftp://me:pass@there/x"], "mnistnet: mlflow: 'ftp://there/x' is no "),
        (["--resume"], "mnistnet: --resume takes --name alone"),
        (["--name", "none", "--resume"], "there is no run to resume"),
        (["--learning-rate", "much"], "'much' is not a valid"),
        (["--lerning-rate", "0.1"], "No such option"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_is_an_error_of_one_line_and_leaves_no_files(
    arguments: list[str],
    message: str,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file where a folder should be", encoding="utf-8")
    code, _, err = run("train", "--data", tiny, *arguments)
    assert code == 2
    assert message in err
    assert {p.name for p in tmp_path.rglob("*")} <= {"file", "runs"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_a_full_disk_is_an_error_and_leaves_no_part_of_a_run(
    tiny: Path, tmp_path: Path, run: Run
) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        code, _, err = run("train", "--data", tiny, "--runs", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    assert re.fullmatch(r"mnistnet: .*: cannot be written \(File too large\); .*\n", err)
    assert not list(tmp_path.iterdir())


def _train_until(line: str, *options: str, cwd: Path) -> subprocess.Popen[str]:
    """Start a run and return it when it has printed the line."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *options],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    assert any(printed.startswith(line) for printed in process.stdout)
    return process


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_cleanly_and_says_how_to_resume(few_digits: Path, tmp_path: Path) -> None:
    options = ("--data", str(few_digits), "--epochs", "30", "--batch-size", "50", "--name", "cut")
    process = _train_until("Epoch: 3", *options, cwd=tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    advice = re.escape(f"mnistnet train --name cut --resume --data {few_digits}")
    assert re.fullmatch(
        rf"mnistnet: interrupted in epoch \d+ of 30, .*; go on with: {advice}\n", errors
    )
    assert not (tmp_path / "runs" / "cut" / "weights.safetensors").exists()
    assert (tmp_path / "runs" / "cut" / "metrics.jsonl").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_bits_of_one_that_was_not(
    few_digits: Path, tmp_path: Path
) -> None:
    options = ("--data", str(few_digits), "--epochs", "3", "--batch-size", "50", "--name")
    assert _train(*options, "whole", cwd=tmp_path).returncode == 0
    process = _train_until("Epoch: 2", *options, "cut", cwd=tmp_path)
    process.kill()
    process.communicate()
    resumed = _train("--name", "cut", "--resume", "--data", few_digits, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole, cut = (tmp_path / "runs" / n / "weights.safetensors" for n in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


# ---- the other verbs of training


def test_trials_print_mean_deviation_and_interval_over_the_seeds(
    tiny: Path, tmp_path: Path, run: Run
) -> None:
    _, out, _ = run("trials", "--seeds", 3, "--data", tiny, "--runs", tmp_path, "--json")
    seeds = [line for line in out.splitlines() if line.startswith("Seed: ")]
    assert [line.split(",")[0] for line in seeds] == ["Seed: 0", "Seed: 1", "Seed: 2"]
    summary = json.loads(out.splitlines()[-1])
    (file,) = (tmp_path / "trials").iterdir()
    accuracies = [json.loads(line)["accuracy"] for line in file.read_text("utf-8").splitlines()]
    assert summary["n"] == 3
    assert summary["judged_on"] == "test"
    assert summary["mean"] == pytest.approx(np.mean(accuracies))
    assert summary["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert summary["low"] < summary["mean"] < summary["high"]
    assert (summary["min"], summary["max"]) == (min(accuracies), max(accuracies))
    line = rf"Mean test accuracy: {summary['mean']:.3%} \(n = 3, 95% interval .*, min .*, max .*\)"
    assert re.search(line, out)


def test_validation_holds_out_the_last_training_images_and_evaluates_on_them(
    tiny: Path, tmp_path: Path, run: Run
) -> None:
    options = ("--data", tiny, "--runs", tmp_path, "--validation", 100, "--json")
    trained = json.loads(run("train", *options)[1].splitlines()[-1])
    assert "validation_accuracy" in trained
    assert "test_accuracy" not in trained
    tried = json.loads(run("trials", "--seeds", 1, *options)[1].splitlines()[-1])
    assert tried["judged_on"] == "validation"
    assert tried["mean"] == trained["validation_accuracy"]


def test_summary_prints_every_layer_and_the_totals(run: Run) -> None:
    _, text, _ = run("summary")
    for line in ("Sequential: 1-1", "Linear: 2-22", "Total params: 20,826"):
        assert line in text


def test_help_lists_every_verb_and_imports_none(python: Python, run: Run) -> None:
    program = """
import sys
from mnistnet.cli import cli
cli(["--help"], standalone_mode=False)
print(*(m for m in sys.modules if m.startswith("mnistnet.cli.") or m == "numpy"))
"""
    text = python(program).stdout
    assert text.endswith("\n\n")  # the line of modules is empty
    headings = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert headings == ["Options", *GROUPS]
    for verb in VERBS:
        assert re.search(rf"^  {verb} +\w", text, re.MULTILINE)
        assert re.match(rf"Usage: .* {verb} ", run(verb, "--help")[1])
