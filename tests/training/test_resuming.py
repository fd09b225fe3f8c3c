"""A run that other code resumes than began it: its record names both, and the user is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from releases import Run as Command

from mnistnet.errors import Interrupted
from mnistnet.files import read_json, write_json
from mnistnet.training.fit import Progress
from mnistnet.training.recipe import Recipe
from mnistnet.training.runs import Run
from mnistnet.training.train import resume, train

FIRST = "a" * 40
RECIPE = Recipe(batch_size=50, threads=1, epochs=3)


def interrupt(runs: Path, data: Path, *, epoch: int) -> Run:
    """Begin the run `cut`, or go on with it, and press Ctrl-C in an epoch."""

    def press(progress: Progress) -> None:
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    begin = resume if (runs / "cut").exists() else partial(train, RECIPE)
    with pytest.raises(Interrupted):
        begin(name="cut", data=data, runs=runs, on_progress=press)
    return Run(runs / "cut")


def begun_at(commit: str, run: Run) -> None:
    """Change the record of a run as if it had been begun at another commit."""
    record = read_json(run.origin_file)
    record["source"]["commit"] = commit
    record["inputs"]["code"] = "c0" * 32
    write_json(run.origin_file, record)


@pytest.fixture
def resumed(tiny: Path, tmp_path: Path, run: Command) -> tuple[Run, str]:
    """A finished run, begun at the commit FIRST, and what its resuming printed on stderr."""
    begun_at(FIRST, interrupt(tmp_path, tiny, epoch=2))
    code, _, err = run("train", "--name", "cut", "--resume", "--runs", tmp_path, "--data", tiny)
    assert code == 0
    return Run(tmp_path / "cut"), err


def test_the_record_names_every_part_and_the_user_is_told(resumed: tuple[Run, str]) -> None:
    run, err = resumed
    origin = read_json(run.origin_file)
    commit = origin["source"]["commit"]
    (line,) = err.splitlines()
    assert line.startswith(f"{run.folder}: is resumed with something else: source: commit was '")
    assert line.endswith("; code: what trains has changed since")
    assert commit != FIRST
    assert list(origin["earlier"]) == ["1"]
    assert origin["earlier"]["1"]["source"]["commit"] == FIRST
    assert origin["earlier"]["1"]["inputs"]["code"] == "c0" * 32
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "model · earlier · 1 · source · commit" in page
    assert FIRST in page


def test_each_part_is_named_once_and_the_same_code_or_a_new_start_adds_none(
    tiny: Path, tmp_path: Path
) -> None:
    run = interrupt(tmp_path, tiny, epoch=1)
    begun_at(FIRST, run)  # no epoch was complete
    assert interrupt(tmp_path, tiny, epoch=2).recorded_origin().earlier is None
    here = run.recorded_origin()
    assert interrupt(tmp_path, tiny, epoch=2).recorded_origin() == here
    for commit in (FIRST, "b" * 40, FIRST):
        begun_at(commit, run)
        interrupt(tmp_path, tiny, epoch=3)
    earlier = run.recorded_origin().earlier
    assert earlier
    assert [part.source["commit"] for part in earlier.values()] == [FIRST, "b" * 40]
    assert run.recorded_origin().source == here.source
