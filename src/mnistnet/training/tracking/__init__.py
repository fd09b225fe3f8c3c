"""Track runs in TensorBoard or MLflow: `--tracker tensorboard`, `--tracker mlflow[=URI]`.

    trackers = open_trackers(["tensorboard", "mlflow"], warn=print)
    train(recipe, trackers=trackers)              # and: trials(recipe, 10, trackers=trackers)

A tracker receives the recipe's fields, loss and accuracy by the number of images seen, the
result, the run's pictures, and (MLflow) the run as a bundle. It cannot harm a run: one that cannot
start stops the command before training, one that fails later is dropped, and the run goes on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mnistnet.errors import UsageError
from mnistnet.training.tracking.trackers import Export, Tracker, Trackers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["NO_TRACKERS", "Tracker", "Trackers", "open_trackers"]

MLFLOW_URI = "sqlite:///mlflow.db"
NO_TRACKERS = Trackers([], warn=lambda _: None)


def open_trackers(
    places: Iterable[str], *, warn: Callable[[str], None], export: Export | None = None
) -> Trackers:
    """Open the trackers that are named, and check that they can be reached.

    Args:
        places: "tensorboard", "mlflow" or "mlflow=URI". Without a URI it is that of the variable
            MLFLOW_TRACKING_URI, or else the file mlflow.db here.
        warn: prints a line when a tracker fails later.
        export: writes a run as a bundle, for trackers that store bundles.

    Raises:
        UsageError: there is no tracker of that name.
        MissingError: the extra `track` is not installed.
        TrackingError: the place cannot be reached or written.
    """
    return Trackers([_opened(place) for place in dict.fromkeys(places)], warn, export)


def _opened(place: str) -> Tracker:
    kind, given, uri = place.partition("=")
    if kind == "mlflow" and (uri or not given):
        from mnistnet.training.tracking.mlflow import MLflow

        return MLflow(uri or os.environ.get("MLFLOW_TRACKING_URI") or MLFLOW_URI)
    if place == "tensorboard":
        from mnistnet.training.tracking.tensorboard import TensorBoard

        return TensorBoard()
    raise UsageError(f"no tracker is called {place!r}; there are tensorboard and mlflow[=URI]")
