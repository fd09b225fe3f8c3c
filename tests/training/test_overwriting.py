"""A run that overwrites another, whatever ends it: the old one is there until the new one is."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from mnistnet.errors import FileError, Interrupted, RunError
from mnistnet.evaluation.subject import open_subject
from mnistnet.training.fit import Progress
from mnistnet.training.recipe import Recipe
from mnistnet.training.runs import Run
from mnistnet.training.train import resume, train

ONE = Recipe(batch_size=50, threads=1, engine="torch")
TWO = ONE.replacing(epochs=2, seed=1)


def interrupt_in_second_epoch(progress: Progress) -> None:
    if progress.epoch == 2:
        raise KeyboardInterrupt


def full_in_epoch(epoch: int) -> Callable[[Progress], None]:
    """Return what fails in an epoch as a write to a full disk does."""

    def fail(progress: Progress) -> None:
        if progress.epoch == epoch:
            raise FileError("metrics.jsonl: cannot be written (No space left on device)")

    return fail


def names(runs: Path) -> set[str]:
    return {path.name for path in runs.iterdir()}


@pytest.fixture
def good(tiny: Path, tmp_path: Path) -> bytes:
    """Train a complete run `runs/good`; return its weights' file."""
    return train(ONE, data=tiny, runs=tmp_path, name="good").run.weights_file.read_bytes()


def test_an_interrupted_overwrite_keeps_the_old_run_and_resumes_to_replace_it(
    tiny: Path, tmp_path: Path, good: bytes
) -> None:
    with pytest.raises(Interrupted, match="interrupted in epoch 2 of 2, ") as interrupted:
        train(
            TWO,
            data=tiny,
            runs=tmp_path,
            name="good",
            overwrite=True,
            on_progress=interrupt_in_second_epoch,
        )
    assert interrupted.value.run == "good"
    weights = tmp_path / "good" / "weights.safetensors"
    assert weights.read_bytes() == good

    with pytest.raises(RunError, match=r"\.good\.new: holds an interrupted run .* good; to start "):
        train(ONE, data=tiny, runs=tmp_path, name="good", overwrite=True)
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


def test_a_run_is_trained_by_one_process_at_a_time(tiny: Path, tmp_path: Path, good: bytes) -> None:
    tried = []

    def try_again(progress: Progress) -> None:
        if progress.epoch == 2:
            for overwrite in (True, False):
                with pytest.raises(FileError, match="good: is being written by another process"):
                    train(ONE, data=tiny, runs=tmp_path, name="good", overwrite=overwrite)
            with pytest.raises(FileError, match="good: is being written by another process"):
                resume(name="good", data=tiny, runs=tmp_path)
            assert (tmp_path / "good" / "weights.safetensors").read_bytes() == good
            tried.append(progress)

    train(TWO, data=tiny, runs=tmp_path, name="good", overwrite=True, on_progress=try_again)
    assert tried
    assert Run(tmp_path / "good").recipe() == TWO
    assert names(tmp_path) == {"good"}


def test_two_runs_without_a_name_at_once_get_two_numbers(tiny: Path, tmp_path: Path) -> None:
    second = []

    def train_another(_: Progress) -> None:
        if not second:
            second.append(train(ONE, data=tiny, runs=tmp_path).run.name)

    assert train(ONE, data=tiny, runs=tmp_path, on_progress=train_another).run.name == "fast-1"
    assert second == ["fast-2"]
    assert names(tmp_path) == {"fast-1", "fast-2"}


@pytest.mark.parametrize("overwrite", [True, False])
def test_ctrl_c_after_training_does_not_delete_what_was_trained(
    overwrite: bool, tiny: Path, tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    name = "good" if overwrite else "other"
    monkeypatch.setattr("mnistnet.training.train.illustrate", interrupt)
    with pytest.raises(Interrupted, match="interrupted in epoch 2 of 2, ") as interrupted:
        train(TWO, data=tiny, runs=tmp_path, name=name, overwrite=overwrite)
    assert interrupted.value.run == name
    monkeypatch.undo()
    resume(name=name, data=tiny, runs=tmp_path)
    assert names(tmp_path) == {"good", name}
    assert (tmp_path / name / "weights.safetensors").read_bytes() != good


def test_a_full_disk_leaves_what_can_be_resumed(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No space left") as full:
        train(TWO, data=tiny, runs=tmp_path, name="cut", on_progress=full_in_epoch(2))
    assert full.value.run == "cut"
    resume(name="cut", data=tiny, runs=tmp_path)
    with pytest.raises(FileError, match="No space left"):  # in its only epoch: nothing to resume
        train(ONE, data=tiny, runs=tmp_path, name="one", on_progress=full_in_epoch(1))
    assert names(tmp_path) == {"cut"}


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
