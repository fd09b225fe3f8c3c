"""Where data sets are looked for, and `load`, which takes the first that is there.

`mnistnet data` prints what `candidates` returns. A place that the user names is binding: if
nothing usable is there, that is an error, and no other place is tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.data.mnist import MNIST
from mnistnet.data.sets import KEYS, DataSet, find_files, read
from mnistnet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

Loading = Callable[[], DataSet]  # gives a data set that was begun to be read, see `loading`


@dataclass(frozen=True)
class Candidate:
    """A place that may hold a data set.

    Attributes:
        name: what the place is called: `--data`, `$MNISTNET_DATA`, `./data/mnist`, …
        path: the folder or file, absolute.
        used: whether `load` takes this one.
        found: whether a readable data set is there.
        what: what it is, or why not.
    """

    name: str
    path: Path
    used: bool
    found: bool
    what: str


@dataclass(frozen=True)
class _Place:
    name: str
    path: Path
    # So many of the four files must be there for the place to be taken. 0: the user named it.
    # 1: if others are missing, that is an error. 4: a download may have stopped half-way.
    files_needed: int

    def is_taken(self) -> bool:
        return self.files_needed == 0 or _count_files(self.path) >= self.files_needed


def load(data: Path | Loading | None = None, *, validation: int = 0) -> DataSet:
    """Read the first data set that is found; without any, download MNIST into the cache.

    The four gzipped files of MNIST take about 0.13 s on one core. What is found is checked for its
    form, not for its SHA-256; for that there are `DataSet.sha256` and `verify`.

    Args:
        data: the data set to read, instead of looking for one, or what `loading` yields.
        validation: how many of the last training images take the test set's place.

    Raises:
        DataError: the data set is damaged, or there is none and no mirror serves it.
        FileError: the cache cannot be written.
    """
    dataset = data() if callable(data) else _read_or_download(data)
    return dataset.hold_out(validation) if validation else dataset


def _read_or_download(path: Path | None) -> DataSet:
    chosen = find(path)
    if chosen is None:
        from mnistnet.data.download import download

        chosen = cache_folder()
        download(chosen)
    return read(chosen)


@contextmanager
def loading(path: Path | None = None) -> Iterator[Loading]:
    """Load a data set on a thread of its own while the block does other work.

    Decompressing lets other threads run. A set that must be downloaded waits for the call: there
    its progress is seen, and Ctrl-C stops it.

    Args:
        path: as in `load`.

    Yields:
        A function that gives the data set, or raises what `load` raises.
    """
    if find(path) is None:
        yield partial(_read_or_download, path)
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_read_or_download, path).result


def find(path: Path | None = None) -> Path | None:
    """Give the place that `load` reads from, or None where it downloads."""
    return next((place.path for place in _places(path) if place.is_taken()), None)


def candidates(path: Path | None = None) -> list[Candidate]:
    """Read every place that may hold a data set, in the order in which `load` tries them."""
    places = list(_places(path))
    used = next((place for place in places if place.is_taken()), None)
    return [_describe(place, used=place is used) for place in places]


def cache_folder() -> Path:
    """Give the folder that MNIST is downloaded into."""
    import platformdirs

    return platformdirs.user_cache_path("mnistnet", appauthor=False) / "mnist"


def _places(path: Path | None) -> Iterator[_Place]:
    if path is not None:
        yield _Place("--data", path, 0)
    if variable := os.environ.get("MNISTNET_DATA"):
        yield _Place("$MNISTNET_DATA", Path(variable), 0)
    yield _Place("./data/mnist", Path("data/mnist"), 1)
    yield _Place("./data/MNIST/raw", Path("data/MNIST/raw"), 1)
    yield _Place("cache", cache_folder(), len(KEYS))


def _count_files(folder: Path) -> int:
    try:
        return len(find_files(folder)) if folder.is_dir() else 0
    except DataError:  # to be reported when it is read
        return len(KEYS)


def _describe(place: _Place, *, used: bool) -> Candidate:
    path = place.path.absolute()
    if not path.exists():
        return Candidate(place.name, path, used, False, "nothing there")
    try:
        data = read(path)
    except DataError as error:
        return Candidate(place.name, path, used, False, str(error).removeprefix(f"{path}: "))
    known = {file.name: file.sha256 for file in MNIST}
    kind = "MNIST" if data.sha256 == known else "not MNIST"
    counts = f"{len(data.train):,} training and {len(data.test):,} test images"
    return Candidate(place.name, path, used, True, f"{kind}: {counts}")
