"""A fixture of the tracking tests: MLflow's settings."""

from __future__ import annotations

import pytest


@pytest.fixture
def mlflow_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the variables that opening MLflow sets."""
    for variable, value in (
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "1"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_LOGGING_LEVEL", "ERROR"),
    ):
        monkeypatch.setenv(variable, value)
