"""Where data sets are searched, and `load`, which reads the first that is found.

`mnistnet data` prints what `candidates` returns. A location that the user names is binding: if
nothing usable is there, that is an error, and no other is tried.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.data.sets import KEYS, MNIST_SHA256, DataSet, find_files, read
from mnistnet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

Pending = Callable[[], DataSet]  # waits for a data set that is being read, and returns it


@dataclass(frozen=True)
class Candidate:
    """A location that may hold a data set.

    Attributes:
        name: how it is listed: `--data`, `$MNISTNET_DATA`, `./data/mnist`, …
        path: the folder or file, absolute.
        used: whether `load` takes this one.
        found: whether a readable data set is there.
        what: what it is, or why there is none.
    """

    name: str
    path: Path
    used: bool
    found: bool
    what: str


@dataclass(frozen=True)
class _Location:
    name: str
    path: Path
    # So many of the four files must be there for it to be used. 0: the user named it. 1: if
    # others are missing, that is an error. 4: a download may have stopped half-way.
    min_files: int

    def is_used(self) -> bool:
        return self.min_files == 0 or _count_files(self.path) >= self.min_files


def load(data: Path | Pending | None = None, *, validation: int = 0) -> DataSet:
    """Read the first data set that is found; without any, download MNIST into the cache.

    The four gzipped files of MNIST take about 0.13 s on one core. Their form is checked, not their
    SHA-256; for that there are `DataSet.sha256` and `verify`.

    Args:
        data: a folder or file to read, instead of searching, or what `load_in_background` yields.
        validation: how many of the last training images take the test set's place.

    Raises:
        DataError: the data set is damaged, or there is none and no mirror serves it.
        FileError: the cache cannot be written.
    """
    dataset = data() if callable(data) else _read_or_download(data)
    return dataset.hold_out(validation) if validation else dataset


@contextmanager
def load_in_background(path: Path | None = None) -> Iterator[Pending]:
    """Read a data set in a thread of its own while the block does other work.

    Decompressing lets other threads run. A data set that must be downloaded waits for the call, so
    that its progress is seen and Ctrl-C stops it.

    Args:
        path: as in `load`.

    Yields:
        A function that returns the data set, or raises what `load` raises.
    """
    if find(path) is None:
        yield partial(_read_or_download, path)
        return
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # by default, the reader waits 5 ms for Python after each MB
    try:
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(_read_and_hash, path).result
    finally:
        sys.setswitchinterval(interval_s)


def find(path: Path | None = None) -> Path | None:
    """Return the path that `load` reads from, or None where it downloads."""
    return next((location.path for location in _locations(path) if location.is_used()), None)


def candidates(path: Path | None = None) -> list[Candidate]:
    """Read every location that may hold a data set, in the order in which `load` tries them."""
    locations = list(_locations(path))
    used = next(filter(_Location.is_used, locations), None)
    listed = []
    for location in locations:
        absolute = location.path.absolute()
        listed.append(Candidate(location.name, absolute, location is used, *_describe(absolute)))
    return listed


def cache_folder() -> Path:
    """Return the folder that MNIST is downloaded into."""
    import platformdirs

    return platformdirs.user_cache_path("mnistnet", appauthor=False) / "mnist"


def _read_and_hash(path: Path | None) -> DataSet:
    dataset = _read_or_download(path)
    _ = dataset.sha256  # which the dataset keeps
    return dataset


def _read_or_download(path: Path | None) -> DataSet:
    found = find(path)
    if found is None:
        from mnistnet.data.download import download

        found = cache_folder()
        download(found)
    return read(found)


def _locations(path: Path | None) -> Iterator[_Location]:
    if path is not None:
        yield _Location("--data", path, 0)
    if variable := os.environ.get("MNISTNET_DATA"):
        yield _Location("$MNISTNET_DATA", Path(variable), 0)
    yield _Location("./data/mnist", Path("data/mnist"), 1)
    yield _Location("./data/MNIST/raw", Path("data/MNIST/raw"), 1)
    yield _Location("cache", cache_folder(), len(KEYS))


def _count_files(folder: Path) -> int:
    try:
        return len(find_files(folder)) if folder.is_dir() else 0
    except DataError:  # reading it reports that
        return len(KEYS)


def _describe(path: Path) -> tuple[bool, str]:
    """Return whether a readable data set is there, and what it is, or why there is none."""
    if not path.exists():
        return False, "nothing there"
    try:
        data = read(path)
    except DataError as error:
        return False, str(error).removeprefix(f"{path}: ")
    kind = "MNIST" if data.sha256 == MNIST_SHA256 else "not MNIST"
    return True, f"{kind}: {len(data.train):,} training and {len(data.test):,} test images"
