"""`mnistnet trials`: from the data to a result for each of n seeds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.pipeline.tracking import NOBODY
from mnistnet.pipeline.train import as_line, load_for, predict
from mnistnet.training.trials import Trial, run_trials, trials_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnistnet.pipeline.tracking import Trackers
    from mnistnet.training.loop import Progress
    from mnistnet.training.recipe import Recipe


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

    dataset = load_for(recipe, data)
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

    return run_trials(file, recipe, seeds, once)
