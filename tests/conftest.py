"""What several tests share: the real data, and a network that has really been trained on it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mnistnet import data as datasets
from mnistnet.data import idx

if TYPE_CHECKING:
    from mnistnet.data import DataSet
    from mnistnet.pipeline.train import TrainResult

ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    """Let the processes that tests start hear Ctrl-C, even if a shell started us in the background.

    Such a shell has us ignore it, and what is ignored is inherited.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mnist() -> DataSet:
    """The 60,000 and the 10,000, from the repository."""
    return datasets.load(ROOT / "data" / "mnist")


@pytest.fixture(scope="session")
def few_digits(mnist: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first 6,000 training and 1,000 test digits: an epoch takes a second."""
    return _write_first(mnist, tmp_path_factory.mktemp("few"), n_train=6000, n_test=1000)


@pytest.fixture(scope="session")
def tiny(mnist: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first 600 training and 100 test digits: an epoch takes no time."""
    return _write_first(mnist, tmp_path_factory.mktemp("tiny"), n_train=600, n_test=100)


def _write_first(mnist: DataSet, folder: Path, *, n_train: int, n_test: int) -> Path:
    for prefix, split, n in (("train", mnist.train, n_train), ("t10k", mnist.test, n_test)):
        idx.write(folder / f"{prefix}-images-idx3-ubyte", split.images[:n])
        idx.write(folder / f"{prefix}-labels-idx1-ubyte", split.labels[:n])
    return folder


@pytest.fixture(scope="session")
def fast_run(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One epoch on the real data with the default recipe, as `mnistnet train` does it."""
    from mnistnet.pipeline.train import train
    from mnistnet.training.recipe import recipe_named

    runs = tmp_path_factory.mktemp("runs")
    return train(recipe_named("fast"), data=ROOT / "data" / "mnist", runs=runs)
