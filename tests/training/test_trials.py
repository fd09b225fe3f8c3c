"""A series of trials has a line for each seed, and continues where it was interrupted."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from mnistnet.errors import FileError, RunError
from mnistnet.training.recipe import Recipe
from mnistnet.training.trials import trials, trials_file

SHORT = Recipe(batch_size=100)


def test_each_seed_is_written_before_the_next_and_trained_once_also_after_a_kill(
    tiny: Path, tmp_path: Path
) -> None:
    file = trials_file(tmp_path, SHORT)
    series = trials(SHORT, 3, data=tiny, runs=tmp_path)
    first = [next(series), next(series)]
    series.close()  # the third is not trained
    lines = [json.dumps(asdict(trial)) + "\n" for trial in first]
    assert file.read_text(encoding="utf-8") == "".join(lines)
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"seed": 2, "accu')  # a kill cut this line off
    again = list(trials(SHORT, 3, data=tiny, runs=tmp_path))
    assert again[:2] == first  # read, not trained: even the training times are the same
    assert [trial.seed for trial in again] == [0, 1, 2]
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3
    assert list(trials(SHORT, 3, data=tiny, runs=tmp_path)) == again


def test_a_series_is_continued_by_one_process_at_a_time(tiny: Path, tmp_path: Path) -> None:
    series = trials(SHORT, 2, data=tiny, runs=tmp_path)
    next(series)
    with pytest.raises(FileError, match="is being written by another process"):
        next(trials(SHORT, 2, data=tiny, runs=tmp_path))
    series.close()
    assert [trial.seed for trial in trials(SHORT, 2, data=tiny, runs=tmp_path)] == [0, 1]


def test_recipes_that_differ_in_more_than_the_seed_have_their_own_series(tmp_path: Path) -> None:
    files = {trials_file(tmp_path, r) for r in (Recipe(), Recipe(seed=1), Recipe(epochs=2))}
    assert len(files) == 2


@pytest.mark.parametrize("content", [b"hello\n", b'{"seed": 0}\n', b"[]\n", b"\xff\xfe\n"])
def test_a_file_that_is_no_series_is_refused_and_kept(
    tmp_path: Path, tiny: Path, content: bytes
) -> None:
    file = trials_file(tmp_path, SHORT)
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"\.jsonl: is not a series"):
        list(trials(SHORT, 1, data=tiny, runs=tmp_path))
    assert file.read_bytes() == content
