"""`mnistnet trials`: the same recipe with n seeds, so that a figure has its n.

Each seed's line is on the disk before the next one starts; a series that was interrupted goes
on where it stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet import data as datasets
from mnistnet.errors import RunError
from mnistnet.files import append_text, write_error
from mnistnet.training.tracking import NOBODY
from mnistnet.training.train import as_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnistnet.training.loop import Progress
    from mnistnet.training.recipe import Recipe
    from mnistnet.training.tracking import Trackers


@dataclass(frozen=True)
class Trial:
    """What one seed gave."""

    seed: int
    accuracy: float  # a fraction
    train_s: float


def trials_file(root: Path, recipe: Recipe) -> Path:
    """Name a series' file by all that decides its results but the seed."""
    return root / "trials" / f"{recipe.name}-{recipe.fingerprint(without=('seed',))}.jsonl"


def trials(
    recipe: Recipe,
    seeds: int,
    *,
    data: Path | None = None,
    runs: Path = Path("runs"),
    trackers: Trackers = NOBODY,
) -> Iterator[Trial]:
    """Train with each seed from 0 and yield what it gave; a series begun before goes on.

    To the trackers each seed that is trained now is a run, `trials/<series>/seed-<n>`. No weights
    are kept, so there are no pictures and no bundle.
    """
    from mnistnet.training.loop import fit
    from mnistnet.training.prediction import predict

    dataset = datasets.load(data, validation=recipe.validation)
    file = trials_file(runs, recipe)
    result = f"{'validation' if recipe.validation else 'test'}/accuracy"

    def once(seeded: Recipe) -> Trial:
        def note(progress: Progress) -> None:
            trackers.measure(as_line(progress, seeded), images_per_s=progress.images_per_s)

        folder = file.with_suffix("") / f"seed-{seeded.seed}"
        with trackers.following(folder.relative_to(runs).as_posix(), folder, seeded):
            started = time.perf_counter()
            net = fit(seeded, dataset.train, on_progress=note)
            train_s = time.perf_counter() - started
            right = predict(net, dataset.test.images).argmax(1) == dataset.test.labels
            trial = Trial(seeded.seed, float(right.mean()), round(train_s, 2))
            trackers.finish({result: trial.accuracy})
        return trial

    return _run_trials(file, recipe, seeds, once)


def _run_trials(
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
        raise write_error(file, error) from error


def _append(file: Path, trial: Trial) -> None:
    line: dict[str, Any] = {
        "seed": trial.seed,
        "accuracy": trial.accuracy,
        "train_s": trial.train_s,
    }
    append_text(file, json.dumps(line) + "\n")
