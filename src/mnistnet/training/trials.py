"""Do it n times: the same recipe with different seeds, so that a figure has its n.

Each seed's line is on the disk before the next one starts; a series that was interrupted goes
on where it stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnistnet.errors import RunError
from mnistnet.files import unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mnistnet.training.recipe import Recipe


@dataclass(frozen=True)
class Trial:
    """What one seed gave."""

    seed: int
    accuracy: float  # a fraction
    train_s: float


def trials_file(root: Path, recipe: Recipe) -> Path:
    """Name a series' file by all that decides its results but the seed."""
    return root / "trials" / f"{recipe.name}-{recipe.fingerprint(without=('seed',))}.jsonl"


def run_trials(
    file: Path, recipe: Recipe, seeds: int, once: Callable[[Recipe], Trial]
) -> Iterator[Trial]:
    """Yield a trial for each seed from 0, those already in `file` at once.

    Args:
        file: a JSON object a line; each new trial is appended as it ends.
        recipe: what to do n times.
        seeds: n.
        once: trains and judges one recipe.

    Raises:
        RunError: the file holds something else.
        FileError: it cannot be written.
    """
    done = {trial.seed: trial for trial in _read(file)}
    for seed in range(seeds):
        if seed not in done:
            done[seed] = once(recipe.replacing(seed=seed))
            _append(file, done[seed])
        yield done[seed]


def _read(file: Path) -> list[Trial]:
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]  # a kill may have cut the last line
    try:
        if whole != text:
            file.write_text(whole, encoding="utf-8")
        return [Trial(**json.loads(line)) for line in whole.splitlines()]
    except (ValueError, TypeError) as error:
        raise RunError(f"{file}: is not a series of trials; move it away") from error
    except OSError as error:
        raise unwritable(file, error) from error


def _append(file: Path, trial: Trial) -> None:
    line: dict[str, Any] = {
        "seed": trial.seed,
        "accuracy": trial.accuracy,
        "train_s": trial.train_s,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError as error:
        raise unwritable(file, error) from error
