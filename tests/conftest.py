"""Fixtures that several rooms share: the real data, and a network trained on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import hypothesis
import numpy as np
import pytest

from mnistnet import data as datasets
from mnistnet.cli import main
from mnistnet.data import idx
from mnistnet.files import locked
from mnistnet.inference.predictor import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mnistnet.data import DataSet
    from mnistnet.model.network import MnistNet
    from mnistnet.training.train import TrainResult

ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    """Let the processes that tests start receive Ctrl-C, and examples take as long as they take.

    A shell makes background jobs ignore Ctrl-C, and child processes inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile("no deadline", deadline=None)
    hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a process of its own."""

    def python(
        program: str, *words: object, cwd: Path | None = None, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *map(str, words)],
            cwd=cwd,
            input=given,
            capture_output=True,
            encoding="utf-8",
            check=False,
            env=os.environ | {"PYTHONUTF8": "1"},
        )

    return python


class Done(NamedTuple):
    """A command's exit code, and all that any code in it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command line in this process. An error is one printable line, after progress."""

    def run(*words: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        done = Done(int(str(ended.value.code)), *capfd.readouterr())
        if done.code == 2:
            lines = done.err.splitlines()
            errors = [line for line in lines if not (line[:1] == "…" or line.endswith(" …"))]
            assert errors[0].startswith(("mnistnet: ", "Usage: ")), done.err
            assert len(errors) == 1 or errors[0].startswith("Usage: "), done.err
            assert all(map(str.isprintable, lines)), done.err
        return done

    return run


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
    from mnistnet.training.recipe import recipe_named
    from mnistnet.training.train import train

    runs = tmp_path_factory.mktemp("runs")
    return train(recipe_named("fast"), data=ROOT / "data" / "mnist", runs=runs)


@pytest.fixture(scope="session")
def net() -> MnistNet:
    """The shipped network."""
    from mnistnet.model.network import MnistNet

    return MnistNet.load(DEFAULT_BUNDLE).requires_grad_(False)


@pytest.fixture(scope="session")
def network(net: MnistNet) -> Callable[[Tensor], Tensor]:
    """The shipped network as the preparation takes it: uint8 (N, 28, 28) to (N, 10)."""
    from mnistnet.model.network import normalise

    return lambda images: net(normalise(images)).exp()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle."""
    return shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")


@pytest.fixture(scope="session")
def images(mnist: DataSet) -> np.ndarray:
    """The first 200 test images, uint8 (200, 28, 28)."""
    return mnist.test.images[:200]


@pytest.fixture(scope="session")
def labels(mnist: DataSet) -> np.ndarray:
    """Their labels, uint8 (200,)."""
    return mnist.test.labels[:200]


@pytest.fixture(scope="session")
def answers(labels: np.ndarray) -> np.ndarray:
    """Probabilities for them, float32 (200, 10): mostly right, with all degrees of confidence."""
    return doubtful_answers(labels, seed=1)


@pytest.fixture(scope="session")
def other_answers(labels: np.ndarray) -> np.ndarray:
    """Another, worse model's probabilities, float32 (200, 10)."""
    return doubtful_answers(labels, seed=2, skill=2.0)


def doubtful_answers(labels: np.ndarray, seed: int, skill: float = 4.0) -> np.ndarray:
    """Draw probabilities that favour the label by `skill`."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 10))
    logits[np.arange(len(labels)), labels] += skill
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium or Chrome."""
    return program("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def npm() -> str:
    """The path of npm, which comes with Node.js."""
    return program("npm")


@pytest.fixture(scope="session")
def onnxruntime_web(npm: str) -> Path:
    """The npm package that the static site needs, as the lock file pins it."""
    package = ROOT / "node_modules" / "onnxruntime-web"
    with locked(ROOT / "node_modules", wait_s=600):  # npm would take away what another test uses
        if not package.is_dir():
            words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            if subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode:
                lack("npm cannot fetch onnxruntime-web here: npm ci --ignore-scripts says why")
    return package


def program(*names: str) -> str:
    """Return the path of the first program that is here, or `lack` it."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or lack(
        f"there is no {names[0]} here; make browser installs it on Debian and Ubuntu"
    )


def lack(what: str) -> NoReturn:
    """Skip the test for what is missing or, with MNISTNET_REQUIRE_BROWSER=1 as in CI, fail it."""
    if os.environ.get("MNISTNET_REQUIRE_BROWSER") == "1":
        pytest.fail(what)
    pytest.skip(what)
