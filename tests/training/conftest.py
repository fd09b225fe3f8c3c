"""Fixtures of the training tests: both engines, and MLflow's settings."""

from __future__ import annotations

import ctypes

import pytest

from mnistnet.errors import MissingError
from mnistnet.training.engine import Engine
from mnistnet.training.machine import engine_for
from mnistnet.training.native import load_library
from mnistnet.training.recipe import Recipe


@pytest.fixture(params=["torch", "native"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine, in float32 and with one thread."""
    if request.param == "native":
        request.getfixturevalue("native_library")
    return engine_for(Recipe(engine=request.param, precision="float32", threads=1))


@pytest.fixture
def native_library() -> ctypes.CDLL:
    """The native kernels, where they were built."""
    try:
        return load_library()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def reference() -> Engine:
    """The engine in plain PyTorch, in float32 and with one thread."""
    return engine_for(Recipe(engine="torch", precision="float32", threads=1))


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
