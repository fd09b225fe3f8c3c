"""Track a run in MLflow: parameters, metrics, result, and as artifacts the pictures and the bundle.

`mlflow-skinny` with sqlalchemy and alembic is enough for this, its SQLite store included, without
the pandas, pyarrow and docker of `mlflow`, which is only needed for its pages: `mlflow ui`.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet.errors import MnistNetError, TrackingError, UsageError
from mnistnet.extras import import_extra
from mnistnet.text import without_password
from mnistnet.training.tracking.trackers import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnistnet.training.tracking.trackers import Status

EXPERIMENT = "mnistnet"
LOCKED_S = 5  # how long another program may hold the SQLite file


class MLflow:
    """A run in the experiment `mnistnet` of an MLflow store: a SQLite file, or a server.

    Args:
        uri: sqlite:///FILE, with the artifacts next to it in `mlartifacts`, or http(s)://SERVER.
    """

    name = "mlflow"
    stores_bundles = True

    def __init__(self, uri: str) -> None:
        shown = without_password(uri)
        database = _sqlite_file(uri)
        _import_mlflow()
        try:
            if database:
                _check_writable(database)
            from mlflow import MlflowClient

            self._client: Any = MlflowClient(uri)
            self._experiment = self._experiment_id(database)
        except MnistNetError:
            raise
        except Exception as error:
            raise TrackingError(
                f"mlflow: {shown} cannot be used ({one_line(error)});"
                " check the address, or leave out --tracker"
            ) from error
        self._run: str | None = None

    def start(self, name: str, folder: Path, parameters: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Create the run with its parameters."""
        from mlflow.entities import Param

        run: str = self._client.create_run(self._experiment, run_name=name).info.run_id
        self._run = run
        given = [Param(field, str(value)) for field, value in parameters.items()]
        self._client.log_batch(run, params=given)

    def log_metrics(self, images: int, metrics: Mapping[str, float]) -> None:
        """Log metrics in one request."""
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        points = [Metric(key, value, now_ms, images) for key, value in metrics.items()]
        self._client.log_batch(self._run, metrics=points)

    def log_pictures(self, pictures: Sequence[Path]) -> None:
        """Log the pictures as artifacts."""
        for picture in pictures:
            self._client.log_artifact(self._run, str(picture), "pictures")

    def log_result(self, images: int, metrics: Mapping[str, float]) -> None:
        """Log the result as metrics."""
        self.log_metrics(images, metrics)

    def log_bundle(self, bundle: Path) -> None:
        """Log the bundle's folder as artifacts."""
        self._client.log_artifacts(self._run, str(bundle), "bundle")

    def stop(self, status: Status) -> None:
        """Set the run's end and status."""
        if self._run is None:
            return
        run, self._run = self._run, None
        statuses = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(run, statuses[status])

    def _experiment_id(self, database: Path | None) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found and found.lifecycle_stage != "active":
            raise TrackingError(
                f"mlflow: the experiment {EXPERIMENT} is deleted there; restore it, or purge it"
            )
        if found:
            return str(found.experiment_id)
        artifacts = (database.parent / "mlartifacts").as_uri() if database else None
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=artifacts))


def _import_mlflow() -> None:
    """Import MLflow with short timeouts, few log messages and no telemetry."""
    settings = {  # only environment variables set these; those that the user has set stay
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; its own default is 120, retried seven times
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    for variable, value in settings.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it would warn of each retry
    import_extra("track", "mlflow", "sqlalchemy", "alembic")


def _sqlite_file(uri: str) -> Path | None:
    """Return the file that a URI names; None for a server's address."""
    if re.match(r"https?://[^/\s]", uri):
        return None
    file = uri.removeprefix("sqlite:///").partition("?")[0]
    if file in (uri, "", ":memory:"):
        raise UsageError(
            f"mlflow: {without_password(uri)!r} is no place to track in;"
            " give sqlite:///FILE or http://SERVER"
        )
    return Path(file).resolve()


def _check_writable(database: Path) -> None:
    """Lock a SQLite file for writing and unlock it: MLflow itself would retry for two minutes."""
    try:
        with closing(sqlite3.connect(database, timeout=LOCKED_S)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        raise TrackingError(
            f"mlflow: {database}: cannot be written as a SQLite file ({error});"
            " choose another place"
        ) from error
