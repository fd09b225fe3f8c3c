"""Fixtures of the training tests: both engines, and MLflow's settings."""

from __future__ import annotations

import pytest

from mnistnet.training.compiled import compiled_step


@pytest.fixture(params=["torch", "compiled"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine's name."""
    if request.param == "compiled" and compiled_step("float32") is None:
        pytest.skip("no C++ compiler was found here")
    return str(request.param)


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
