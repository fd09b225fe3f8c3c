"""What the tests of tracking share: data so few that an epoch takes no time, and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnistnet.data import idx

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.data import DataSet


@pytest.fixture(scope="session")
def tiny(mnist: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 600 training and 100 test digits."""
    folder = tmp_path_factory.mktemp("tiny")
    for prefix, split, n in (("train", mnist.train, 600), ("t10k", mnist.test, 100)):
        idx.write(folder / f"{prefix}-images-idx3-ubyte", split.images[:n])
        idx.write(folder / f"{prefix}-labels-idx1-ubyte", split.labels[:n])
    return folder


@pytest.fixture
def mlflow_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back the variables that opening MLflow sets."""
    for variable, value in (
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "1"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_LOGGING_LEVEL", "ERROR"),
    ):
        monkeypatch.setenv(variable, value)
