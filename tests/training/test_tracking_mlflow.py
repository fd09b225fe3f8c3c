"""Runs are tracked in MLflow's SQLite store, and what is wrong with a store is one line."""

from __future__ import annotations

import http.server
import signal
import socket
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from git_server import running

from mnistnet.bundle.export_run import export_run
from mnistnet.bundle.verify import verify
from mnistnet.errors import Interrupted, TrackingError
from mnistnet.training.fit import Progress
from mnistnet.training.recipe import Recipe
from mnistnet.training.tracking import open_trackers
from mnistnet.training.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("mlflow_settings")]

TWO_EPOCHS = Recipe(epochs=2, batch_size=50, threads=1)


def _uri(database: Path) -> str:
    return f"sqlite:///{database.as_posix()}"


def _runs_in(database: Path) -> tuple[Any, list[Any]]:
    """Return a client of a store, and the runs in it, the oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient(_uri(database))
    experiment = client.get_experiment_by_name("mnistnet")
    assert experiment
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return client, list(runs)


def test_mlflow_holds_parameters_curves_result_pictures_and_the_bundle(
    tiny: Path, tmp_path: Path
) -> None:
    database = tmp_path / "store" / "my.db"
    database.parent.mkdir()
    trackers = open_trackers([f"mlflow={_uri(database)}"], warn=pytest.fail, export=export_run)
    result = train(TWO_EPOCHS, data=tiny, runs=tmp_path / "runs", trackers=trackers)
    client, (run,) = _runs_in(database)
    assert (run.info.run_name, run.info.status) == (result.run.folder.name, "FINISHED")
    assert run.data.params == {k: str(v) for k, v in TWO_EPOCHS.as_dict().items()}
    lines = result.run.metrics()
    for key in ("loss", "accuracy"):
        points = client.get_metric_history(run.info.run_id, f"train/{key}")
        assert [(p.step, p.value) for p in points] == [(n.images, getattr(n, key)) for n in lines]
    assert len(client.get_metric_history(run.info.run_id, "train/images_per_s")) == 2
    assert run.data.metrics["test/accuracy"] == result.accuracy
    artifacts = next((database.parent / "mlartifacts").iterdir()) / "artifacts"
    pictures = {p.name for p in (artifacts / "pictures").iterdir()}
    assert pictures == {"batch.png", "mistakes.png"}
    assert verify(artifacts / "bundle").origin.recipe == TWO_EPOCHS.as_dict()
    assert "tracking" in result.phases_s


def test_a_store_that_breaks_midway_is_a_warning_and_the_run_is_complete(
    tiny: Path, tmp_path: Path
) -> None:
    database, warnings = tmp_path / "my.db", list[str]()

    def corrupt(progress: Progress) -> None:
        if progress.epoch == 1:
            database.write_bytes(b"no longer a database" * 1000)

    trackers = open_trackers([f"mlflow={_uri(database)}"], warn=warnings.append)
    result = train(TWO_EPOCHS, data=tiny, runs=tmp_path, on_progress=corrupt, trackers=trackers)
    assert result.run.weights_file.exists()
    (warning,) = warnings
    assert warning.startswith("mlflow: no longer tracks (")
    assert "\n" not in warning


def test_a_folder_that_is_not_there_and_a_file_that_is_no_store_are_refused(
    tmp_path: Path,
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but longer than the header of one " * 10, encoding="utf-8")
    for database in (tmp_path / "nowhere" / "my.db", tmp_path, text):
        with pytest.raises(TrackingError, match="cannot be written as a SQLite file"):
            open_trackers([f"mlflow={_uri(database)}"], warn=pytest.fail)
    assert text.read_text(encoding="utf-8").startswith("not a database")


def test_a_server_that_refuses_is_silent_or_is_not_mlflow_is_named_in_one_line(
    tmp_path: Path,
) -> None:
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        refused = _complaint(f"http://me:secret@127.0.0.1:{port}")
        assert refused.startswith(f"mlflow: http://127.0.0.1:{port} cannot be used (")
        silent.listen()  # from now on connections are accepted, and never answered
        assert "no answer in time" in _complaint(f"http://127.0.0.1:{port}")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        assert "404" in _complaint(f"http://127.0.0.1:{server.server_port}")


def _complaint(uri: str) -> str:
    with pytest.raises(TrackingError) as raised:
        open_trackers([f"mlflow={uri}"], warn=pytest.fail)
    message = str(raised.value)
    assert "secret" not in message
    assert "\n" not in message
    return message


def test_a_deleted_experiment_is_named(tmp_path: Path) -> None:
    place = f"mlflow={_uri(tmp_path / 'my.db')}"
    open_trackers([place], warn=pytest.fail)
    client, _ = _runs_in(tmp_path / "my.db")
    client.delete_experiment(client.get_experiment_by_name("mnistnet").experiment_id)
    with pytest.raises(TrackingError, match="the experiment mnistnet is deleted there"):
        open_trackers([place], warn=pytest.fail)


def test_ctrl_c_marks_the_run_as_killed_and_prints_nothing(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def press_ctrl_c(progress: Progress) -> None:
        if progress.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    trackers = open_trackers([f"mlflow={_uri(tmp_path / 'my.db')}"], warn=pytest.fail)
    with pytest.raises(Interrupted):
        train(TWO_EPOCHS, data=tiny, runs=tmp_path, on_progress=press_ctrl_c, trackers=trackers)
    assert capfd.readouterr().err == ""
    _, (run,) = _runs_in(tmp_path / "my.db")
    assert (run.info.run_name, run.info.status) == ("fast-1", "KILLED")
    assert run.data.metrics["train/loss"] > 0
