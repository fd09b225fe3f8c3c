"""Trials: the same recipe with n seeds, so that a mean accuracy has its n.

Each seed's line is on the disk before the next one starts, so that an interrupted series
continues where it stopped.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet import data as datasets
from mnistnet.errors import RunError
from mnistnet.files import append_text, locked, write_bytes
from mnistnet.training.fit import fit
from mnistnet.training.machine import engine_for
from mnistnet.training.tracking import NO_TRACKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnistnet.data import DataSet
    from mnistnet.training.engine import Engine
    from mnistnet.training.fit import Progress
    from mnistnet.training.recipe import Recipe
    from mnistnet.training.tracking import Trackers


@dataclass(frozen=True)
class Trial:
    """The result of one seed."""

    seed: int
    accuracy: float  # a fraction
    train_s: float

    def __post_init__(self) -> None:
        """Refuse what is no result. Raises ValueError or TypeError."""
        if not (self.seed >= 0 and 0 <= self.accuracy <= 1 and 0 <= self.train_s < 1e9):
            raise ValueError(f"{self}: is out of bounds")


def trials_file(root: Path, recipe: Recipe) -> Path:
    """Return a series' file, named by every hyperparameter but the seed."""
    return root / "trials" / f"{recipe.name}-{recipe.fingerprint(without=('seed',))}.jsonl"


def trials(
    recipe: Recipe,
    seeds: int,
    *,
    data: Path | None = None,
    runs: Path = Path("runs"),
    on_engine: Callable[[Engine], None] = lambda _: None,
    trackers: Trackers = NO_TRACKERS,
) -> Iterator[Trial]:
    """Train with the seeds 0 to n - 1 and yield each result; those of an earlier call are read.

    In the trackers each seed that is trained now is a run, `trials/<series>/seed-<n>`. No weights
    are kept, so there are no pictures and no bundle.

    Args:
        recipe: every hyperparameter; its seed is replaced.
        seeds: n.
        data: a data set's folder or file; None: the first that is found in the usual places.
        runs: the folder of all runs; results are appended to `trials_file(runs, recipe)`.
        on_engine: called once, with what computes.
        trackers: where else each seed is tracked, see `open_trackers`.

    Raises:
        RunError: the series' file holds something else.
        FileError: it cannot be written, or another process continues the series now.
        RecipeError: see engine_for.
    """
    file = trials_file(runs, recipe)
    with locked(file):
        done = {trial.seed: trial for trial in _read(file)}
        on_engine(engine := engine_for(recipe))
        dataset = datasets.load(data, validation=recipe.validation)
        for seed in range(seeds):
            if seed not in done:
                seeded, folder = recipe.replacing(seed=seed), file.with_suffix("") / f"seed-{seed}"
                with trackers.tracking(folder.relative_to(runs).as_posix(), folder, seeded):
                    done[seed] = _train_once(seeded, engine, dataset, trackers)
                append_text(file, json.dumps(asdict(done[seed])) + "\n")
            yield done[seed]


def _train_once(recipe: Recipe, engine: Engine, dataset: DataSet, trackers: Trackers) -> Trial:
    def report(progress: Progress) -> None:
        trackers.log_line(progress.measurement(), images_per_s=progress.images_per_s)

    started = time.perf_counter()
    state = fit(recipe, dataset.train, engine, on_progress=report)
    train_s = time.perf_counter() - started
    probabilities = engine.probabilities(state.weights, dataset.test.images)
    correct = probabilities.argmax(1) == dataset.test.labels
    trial = Trial(recipe.seed, float(correct.mean()), round(train_s, 2))
    trackers.log_result({f"{recipe.evaluated_on}/accuracy": trial.accuracy})
    return trial


def _read(file: Path) -> list[Trial]:
    if not file.exists():
        return []
    try:
        text = file.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a kill may have cut off the last line
        trials = [Trial(**json.loads(line)) for line in whole.splitlines()]
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{file}: is not a series of trials; move it away") from error
    if whole != text:
        write_bytes(file, whole.encode())
    return trials
