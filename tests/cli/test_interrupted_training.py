"""What `mnistnet train` prints when it is interrupted, and what the command that it names does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from releases import Run

from mnistnet.cli.output import Bar
from mnistnet.training.fit import Progress
from mnistnet.training.recipe import Recipe
from mnistnet.training.tracking import NO_TRACKERS

SMALL = ("--batch-size", 50, "--threads", 1, "--engine", "torch", "--epochs", 2)


@pytest.fixture
def interrupt_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Press Ctrl-C when the first progress of an epoch is printed; 0: never."""

    def interrupt_in(epoch: int) -> None:
        def show_training(_: Bar, progress: Progress) -> None:
            if progress.epoch == epoch:
                raise KeyboardInterrupt

        monkeypatch.setattr(Bar, "show_training", show_training)

    return interrupt_in


@pytest.mark.parametrize("epoch", [1, 2])
def test_the_command_that_ctrl_c_names_has_every_option_that_was_given_and_goes_on(
    epoch: int, interrupt_in: Callable[[int], None], tiny: Path, tmp_path: Path, run: Run
) -> None:
    runs = tmp_path / "my runs"
    given = ("--data", tiny, "--runs", runs, "--tracker", "tensorboard", "--json")
    interrupt_in(epoch)
    code, _, err = run("train", *given, *SMALL)
    assert code == 130
    said, _, command = err.splitlines()[-1].partition("; go on with: mnistnet ")
    assert said.startswith(f"mnistnet: interrupted in epoch {epoch} of 2, after batch 12 of 12: ")
    assert said.endswith("; no epoch was complete, so it starts again") == (epoch == 1)
    advised = shlex.split(command)
    assert advised == ["train", "--name", "fast-1", "--resume", *map(str, given)]

    interrupt_in(0)
    code, out, _ = run(*advised)
    assert code == 0
    assert json.loads(out.splitlines()[-1])["run"] == str(runs / "fast-1")
    assert [path.name for path in runs.iterdir()] == ["fast-1"]
    assert list((runs / "fast-1").glob("events.*"))


def test_overwriting_an_interrupted_overwrite_names_the_command_that_goes_on_with_it(
    interrupt_in: Callable[[int], None], tiny: Path, tmp_path: Path, run: Run
) -> None:
    overwrite = ("train", "--data", tiny, "--runs", tmp_path, "--name", "good", "--overwrite")
    interrupt_in(0)
    assert run(*overwrite, *SMALL)[0] == 0
    old = (tmp_path / "good" / "weights.safetensors").read_bytes()
    interrupt_in(2)
    assert run(*overwrite, *SMALL, "--seed", 1)[0] == 130
    checkpoint = (tmp_path / ".good.new" / "checkpoint.safetensors").read_bytes()
    interrupt_in(0)
    code, _, err = run(*overwrite, *SMALL, "--seed", 2)
    assert code == 2
    advised = err.splitlines()[-1].partition("; go on with: mnistnet ")[2]
    assert (tmp_path / ".good.new" / "checkpoint.safetensors").read_bytes() == checkpoint
    assert (tmp_path / "good" / "weights.safetensors").read_bytes() == old
    assert run(*shlex.split(advised))[0] == 0
    assert json.loads((tmp_path / "good" / "recipe.json").read_bytes())["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_a_run_interrupted_before_anything_was_measured_is_not_kept(
    tiny: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mnistnet.training.train.fit", interrupt)
    code, _, err = run("train", "--data", tiny, "--runs", tmp_path, *SMALL)
    assert code == 130
    assert err == "mnistnet: interrupted before anything was measured, so no run is kept\n"
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    assert run("train", "--data", tiny, "--runs", tmp_path, *SMALL, "--name", "again")[0] == 0


def test_interrupted_trials_name_the_command_that_goes_on_with_them(
    tiny: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistnet.training import trials

    given = ("trials", "--seeds", "2", "--data", str(tiny), "--runs", str(tmp_path))
    train_once = trials._train_once

    def interrupt_second(recipe: Recipe, *rest: Any) -> trials.Trial:
        if recipe.seed == 1:
            raise KeyboardInterrupt
        return train_once(recipe, *rest)

    monkeypatch.setattr(trials, "_train_once", interrupt_second)
    code, _, err = run(*given)
    assert code == 130
    assert err == f"mnistnet: interrupted after 1 seed; go on with: mnistnet {shlex.join(given)}\n"
    monkeypatch.undo()
    assert run(*given)[0] == 0


def test_any_other_verb_that_is_interrupted_says_so_in_one_line(
    tiny: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mnistnet.data.verify", interrupt)
    code, _, err = run("data", "verify", "--data", tiny)
    assert (code, err.strip()) == (130, "mnistnet: interrupted")


def test_the_command_holds_no_password(
    interrupt_in: Callable[[int], None],
    tiny: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mnistnet.cli.train._open_trackers", lambda _: NO_TRACKERS)
    interrupt_in(2)
    place = "mlflow=http://me:secret/half@there/x"
    _, _, err = run("train", "--data", tiny, "--runs", tmp_path, "--tracker", place, *SMALL)
    assert "--tracker mlflow=http://there/x" in err
    assert "secret" not in err
