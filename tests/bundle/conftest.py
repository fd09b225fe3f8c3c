"""A trained network, and the bundle that is made of it; tests that change one take a copy."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from bundle_parts import CARD, METRICS, ORIGIN, REPORT

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.model.network import MnistNet
    from mnistnet.training.train import TrainResult


@pytest.fixture(scope="session")
def net(fast_run: TrainResult) -> MnistNet:
    """A network after one epoch on the real data."""
    from mnistnet.model.network import MnistNet

    return MnistNet.load(fast_run.run.folder)


@pytest.fixture(scope="session")
def pristine(net: MnistNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle, to look at."""
    from mnistnet.bundle.export import export

    directory = tmp_path_factory.mktemp("exported") / "bundle"
    export(net, directory, origin=ORIGIN, metrics=METRICS, report=REPORT, card=CARD, threshold=0.5)
    return directory


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to damage."""
    return shutil.copytree(pristine, tmp_path / "bundle")
