"""A run that overwrites another, whatever ends it: the old one is there until the new one is."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from mnistnet.errors import Interrupted, RunError
from mnistnet.evaluation.subject import open_subject
from mnistnet.training.fit import Progress
from mnistnet.training.recipe import Recipe
from mnistnet.training.train import resume, train

ONE = Recipe(batch_size=50, threads=1, engine="torch")
TWO = ONE.replacing(epochs=2, seed=1)


def interrupt_in_second_epoch(progress: Progress) -> None:
    if progress.epoch == 2:
        raise KeyboardInterrupt


def names(runs: Path) -> set[str]:
    return {path.name for path in runs.iterdir()}


@pytest.fixture
def good(tiny: Path, tmp_path: Path) -> bytes:
    """Train a complete run `runs/good`; return its weights' file."""
    return train(ONE, data=tiny, runs=tmp_path, name="good").run.weights_file.read_bytes()


def test_an_interrupted_overwrite_keeps_the_old_run_and_resumes_to_replace_it(
    tiny: Path, tmp_path: Path, good: bytes
) -> None:
    with pytest.raises(Interrupted, match="--name good --resume"):
        train(
            TWO,
            data=tiny,
            runs=tmp_path,
            name="good",
            overwrite=True,
            on_progress=interrupt_in_second_epoch,
        )
    weights = tmp_path / "good" / "weights.safetensors"
    assert weights.read_bytes() == good

    result = resume(name="good", data=tiny, runs=tmp_path)
    assert result.run.folder == tmp_path / "good"
    assert weights.read_bytes() != good
    assert result.run.recipe() == TWO
    assert names(tmp_path) == {"good"}


def test_an_overwrite_that_fails_leaves_the_old_run_alone(
    tiny: Path, tmp_path: Path, good: bytes
) -> None:
    def fail(_: Progress) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        train(TWO, data=tiny, runs=tmp_path, name="good", overwrite=True, on_progress=fail)
    assert (tmp_path / "good" / "weights.safetensors").read_bytes() == good
    assert names(tmp_path) == {"good"}


# Each rename, and each folder's deletion, is a moment in which the process may be killed.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
moment, data, runs = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
calls = 0
def killing(function):
    def call(path, *rest, **named):
        global calls
        if Path(path).parent == runs:
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(path, *rest, **named)
    return call
from mnistnet.training.train import train
from mnistnet.training.recipe import Recipe
Path.rename, shutil.rmtree = killing(Path.rename), killing(shutil.rmtree)
train(Recipe(batch_size=50, threads=1, engine="torch", seed=1), data=data, runs=runs, name="good",
      overwrite=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_of_the_swap_a_whole_run_is_found_by_the_next_call(
    tiny: Path, tmp_path: Path, good: bytes
) -> None:
    new = train(ONE.replacing(seed=1), data=tiny, runs=tmp_path / "other", name="new").run
    whole = {good, new.weights_file.read_bytes()}
    for moment in count(1):
        command = [sys.executable, "-c", KILLED, str(moment), str(tiny), str(tmp_path)]
        done = subprocess.run(command, check=False)
        with pytest.raises(RunError):  # the next call; there is nothing to resume
            resume(name="good", data=tiny, runs=tmp_path)
        assert (tmp_path / "good" / "weights.safetensors").read_bytes() in whole
        assert names(tmp_path) == {"good", "other"}
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert moment > 2


def test_a_run_resumes_on_its_own_data_only(tiny: Path, few_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(TWO, data=tiny, runs=tmp_path, name="cut", on_progress=interrupt_in_second_epoch)
    origin = (tmp_path / "cut" / "origin.json").read_bytes()
    with pytest.raises(RunError, match=r"cut: was begun on other data than .*; name that with"):
        resume(name="cut", data=few_digits, runs=tmp_path)
    assert (tmp_path / "cut" / "origin.json").read_bytes() == origin
    assert resume(name="cut", data=tiny, runs=tmp_path).n == 100


def test_the_command_that_ctrl_c_names_resumes_the_run(tiny: Path, tmp_path: Path) -> None:
    runs = tmp_path / "my runs"
    with pytest.raises(Interrupted) as interrupted:
        train(TWO, data=tiny, runs=runs, name="cut", on_progress=interrupt_in_second_epoch)
    _, _, command = str(interrupted.value).partition("go on with: mnistnet ")
    done = subprocess.run(
        [sys.executable, "-m", "mnistnet", *shlex.split(command), "--json"],
        cwd=tmp_path,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["run"] == str(runs / "cut")


@pytest.mark.parametrize("left", [".good.new", ".good.replaced"])
def test_evaluating_a_run_puts_it_back_where_it_is_missing_and_else_touches_nothing(
    left: str, tmp_path: Path, good: bytes
) -> None:
    run, other = tmp_path / "good", tmp_path / left
    shutil.copytree(run, other)
    with open_subject(run):
        assert other.exists()
    shutil.rmtree(run)
    with open_subject(run):
        assert (run / "weights.safetensors").read_bytes() == good
    assert names(tmp_path) == {"good"}
