"""The shipped bundle, and a copy of it for the tests that change one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from mnistnet.inference.predictor import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.model.network import MnistNet


@pytest.fixture(scope="session")
def net() -> MnistNet:
    """The shipped network."""
    from mnistnet.model.network import MnistNet

    return MnistNet.load(DEFAULT_BUNDLE)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle."""
    return shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
