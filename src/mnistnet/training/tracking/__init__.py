"""`--tracker tensorboard`, `--tracker mlflow[=URI]`: a run's figures where people already look.

    trackers = open_trackers(["tensorboard", "mlflow"], warn=print)
    train(recipe, trackers=trackers)              # and: trials(recipe, 10, trackers=trackers)

What a tracker gets: the recipe's fields, what is measured by the number of images seen, the
result, the run's pictures, and (MLflow) the run as a bundle. It only listens: one that cannot
begin stops the command before training, one that fails later is left out, and the run goes on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mnistnet.errors import UsageError
from mnistnet.training.tracking.trackers import Tracker, Trackers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["NOBODY", "Tracker", "Trackers", "open_trackers"]

MLFLOW_URI = "sqlite:///mlflow.db"
NOBODY = Trackers([], warn=lambda _: None)


def open_trackers(places: Iterable[str], *, warn: Callable[[str], None]) -> Trackers:
    """Open the places that runs are to be tracked in, and see that they are there.

    Args:
        places: "tensorboard", "mlflow" or "mlflow=URI". Without a URI it is that of the variable
            MLFLOW_TRACKING_URI, or else the file mlflow.db here.
        warn: takes a line when a tracker fails later.

    Raises:
        UsageError: a place is called by no such name.
        MissingError: the extra `track` is not installed.
        TrackingError: the place cannot be reached or written.
    """
    return Trackers([_opened(place) for place in dict.fromkeys(places)], warn)


def _opened(place: str) -> Tracker:
    kind, given, uri = place.partition("=")
    if kind == "mlflow" and (uri or not given):
        from mnistnet.training.tracking.mlflow import MLflow

        return MLflow(uri or os.environ.get("MLFLOW_TRACKING_URI") or MLFLOW_URI)
    if place == "tensorboard":
        from mnistnet.training.tracking.tensorboard import TensorBoard

        return TensorBoard()
    raise UsageError(f"no tracker is called {place!r}; there are tensorboard and mlflow[=URI]")
