"""A series of trials has a line a seed, and goes on where it was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnistnet.errors import RunError
from mnistnet.training.recipe import Recipe
from mnistnet.training.trials import Trial, _run_trials, trials_file

if TYPE_CHECKING:
    from pathlib import Path


def _once(recipe: Recipe) -> Trial:
    return Trial(recipe.seed, accuracy=0.9 + recipe.seed / 100, train_s=1.0)


def test_each_seed_is_trained_once_and_written_before_the_next_begins(tmp_path: Path) -> None:
    file = trials_file(tmp_path, Recipe())
    series = _run_trials(file, Recipe(), 3, _once)
    for seed in range(3):
        assert next(series).seed == seed
        assert len(file.read_text(encoding="utf-8").splitlines()) == seed + 1


def test_an_interrupted_series_goes_on_even_if_a_line_was_cut_off(tmp_path: Path) -> None:
    file = trials_file(tmp_path, Recipe())
    first = list(_run_trials(file, Recipe(), 2, _once))
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"seed": 2, "accu')
    trained: list[int] = []

    def once(recipe: Recipe) -> Trial:
        trained.append(recipe.seed)
        return _once(recipe)

    assert list(_run_trials(file, Recipe(), 4, once))[:2] == first
    assert trained == [2, 3]
    assert [t.seed for t in _run_trials(file, Recipe(), 4, once)] == [0, 1, 2, 3]
    assert trained == [2, 3]


def test_recipes_that_differ_in_more_than_the_seed_have_series_of_their_own(tmp_path: Path) -> None:
    files = {trials_file(tmp_path, r) for r in (Recipe(), Recipe(seed=1), Recipe(epochs=2))}
    assert len(files) == 2


@pytest.mark.parametrize("content", ["hello\n", '{"seed": 0}\n', "[]\n"])
def test_a_file_that_is_no_series_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    file = tmp_path / "trials.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"trials\.jsonl: is not a series"):
        list(_run_trials(file, Recipe(), 1, _once))
    assert file.read_text(encoding="utf-8") == content
