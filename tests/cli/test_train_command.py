"""`mnistnet train` as a user meets it: real processes, their words, codes and files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def _train(
    *arguments: str | Path, cwd: Path = ROOT, limit_bytes: int = 0
) -> subprocess.CompletedProcess[str]:
    def limit_file_size() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        preexec_fn=limit_file_size if limit_bytes else None,
    )


@pytest.fixture(scope="module")
def done(
    few_digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """A run on 6,000 of the real digits, in a folder of its own."""
    options = ("--data", few_digits, "--batch-size", "50", "--json")
    return _train(*options, cwd=tmp_path_factory.mktemp("user"))


def test_it_prints_the_table_the_courses_lines_the_accuracy_the_time_and_the_place(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "Trainable params: 20,826" in text
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


def test_json_ends_with_one_object_that_says_the_same(
    done: subprocess.CompletedProcess[str],
) -> None:
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"run", "seed", "test_accuracy", "wall_s", "images_per_s"}
    assert f"Test accuracy: {result['test_accuracy']:.2%}" in done.stdout
    assert result["test_accuracy"] > 0.9
    assert result["seed"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "slow"], "no recipe is called 'slow'"),
        (["--batch-size", "60001"], "batch_size is 60001"),
        (["--data", "nowhere"], "nowhere"),
        (["--name", "../elsewhere"], "cannot name a run"),
        (["--resume"], "--resume takes --name alone"),
        (["--name", "none", "--resume"], "there is no run to resume"),
        (["--learning-rate", "much"], "'much' is not a valid"),
        (["--lerning-rate", "0.1"], "No such option"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_2_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = _train(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.*"))


def test_data_smaller_than_a_batch_leaves_no_run(few_digits: Path, tmp_path: Path) -> None:
    done = _train("--data", few_digits, "--batch-size", "7000", cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"mnistnet: batch_size is 7000, but .* 6000 .*\n", done.stderr)
    assert not list((tmp_path / "runs").iterdir())


def test_a_diverging_run_says_so_and_leaves_nothing(few_digits: Path, tmp_path: Path) -> None:
    wild = ("--learning-rate", "10", "--weight-decay", "10", "--warmup", "0")
    done = _train("--data", few_digits, *wild, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"mnistnet: the loss is .* training diverged; .*\n", done.stderr)
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a file-size limit is a POSIX thing")
def test_a_full_disk_says_so_and_leaves_nothing_half_written(
    few_digits: Path, tmp_path: Path
) -> None:
    done = _train("--data", few_digits, cwd=tmp_path, limit_bytes=20_000)
    assert done.returncode == 2
    assert re.fullmatch(r"mnistnet: .*: cannot be written \(File too large\); .*\n", done.stderr)
    assert not list((tmp_path / "runs").iterdir())


def test_a_runs_folder_that_cannot_be_is_named(few_digits: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be", encoding="utf-8")
    done = _train("--data", few_digits, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"mnistnet: runs: .*\n", done.stderr)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_cleanly_and_resume_goes_on(few_digits: Path, tmp_path: Path) -> None:
    options = ["--data", str(few_digits), "--epochs", "30", "--batch-size", "50", "--name", "cut"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("Epoch: 3"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate()
    assert process.returncode == 130
    assert re.fullmatch(
        r"mnistnet: interrupted in epoch \d+ of 30, .*--name cut --resume\n", errors
    )
    assert not (tmp_path / "runs" / "cut" / "weights.safetensors").exists()
    assert (tmp_path / "runs" / "cut" / "metrics.jsonl").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_bits_of_one_that_was_not(
    few_digits: Path, tmp_path: Path
) -> None:
    options = ["--data", str(few_digits), "--epochs", "3", "--batch-size", "50"]
    assert _train(*options, "--name", "whole", cwd=tmp_path).returncode == 0
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *options, "--name", "cut"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("Epoch: 2"):
            process.kill()
            break
    process.communicate()
    resumed = _train("--name", "cut", "--resume", "--data", few_digits, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    weights = [
        (tmp_path / "runs" / n / "weights.safetensors").read_bytes() for n in ("whole", "cut")
    ]
    assert weights[0] == weights[1]
