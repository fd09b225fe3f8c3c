"""Data sets of 28×28 digits: found, read, verified, split, and downloaded if they must be.

    >>> digits = load()                                    # or load(Path("fashion"))
    >>> digits.train.images.shape, digits.train.labels.shape
    ((60000, 28, 28), (60000,))

Searched in this order: the path that is given, `$MNISTNET_DATA`, `./data/mnist`,
`./data/MNIST/raw`, the user's cache folder, and then the public mirrors.
"""

from __future__ import annotations

from mnistnet.data.locations import Pending, candidates, find, load, load_in_background
from mnistnet.data.sets import DataSet, Split
from mnistnet.data.verify import verify

__all__ = [
    "DataSet",
    "Pending",
    "Split",
    "candidates",
    "find",
    "load",
    "load_in_background",
    "verify",
]
