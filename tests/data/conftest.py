"""What the tests of the data room share: a data set of thirty images, and where to put it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mnistnet.data import DataSet, Split, idx
from mnistnet.data.sets import KEYS


@pytest.fixture
def noise() -> DataSet:
    """Twenty training and ten test images of noise; every label occurs."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    labels = (np.arange(30) % 10).astype(np.uint8)
    train, test = Split(images[:20], labels[:20]), Split(images[20:], labels[20:])
    return DataSet(train, test, source="made up")


@pytest.fixture
def arrays(noise: DataSet) -> dict[str, NDArray[np.uint8]]:
    """The noise's arrays by the names of MNIST's files."""
    splits = (noise.train, noise.test)
    four = [array for split in splits for array in (split.images, split.labels)]
    return dict(zip(KEYS, four, strict=True))


@pytest.fixture
def folder(tmp_path: Path, arrays: dict[str, NDArray[np.uint8]]) -> Path:
    """The noise as four gzipped IDX files."""
    for name, array in arrays.items():
        idx.write(tmp_path / "tiny" / f"{name}.gz", array)
    return tmp_path / "tiny"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and cache, no variables set, and no network."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("mnistnet.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("MNISTNET_DATA", raising=False)
    monkeypatch.setenv("MNISTNET_MIRRORS", "")
    return tmp_path / "here"
