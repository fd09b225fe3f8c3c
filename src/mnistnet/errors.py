"""Everything that can go wrong through no fault of the program.

    MnistNetError
    ├── UsageError      the words of a command do not fit together
    ├── FileError       a file or folder cannot be read or written
    ├── DataError       a data set is missing, damaged, or not of MNIST's shape
    ├── RecipeError     a recipe has an unknown field or an impossible value
    ├── RunError        a run exists already, is not there, or does not fit
    ├── TrainingError   training diverged
    ├── TrackingError   a run cannot be tracked where it should be
    ├── Interrupted     Ctrl-C ended a run early
    ├── WeightsError    a file does not hold this network's weights
    ├── PictureError    a picture cannot be decoded, or is not one
    ├── BundleError     a bundle fails verification
    ├── RegistryError   the published models cannot be reached, read or written
    ├── SigningError    a bundle cannot be signed, or a signature not be checked, here and now
    └── MissingError    a part of the program is not installed

Each message is one line: what is wrong, where, and what to do about it.
"""

from __future__ import annotations


class MnistNetError(Exception):
    """The root of every error that a user can cause."""


class UsageError(MnistNetError):
    """The words of a command do not fit together."""


class FileError(MnistNetError):
    """A file or folder cannot be read or written."""


class DataError(MnistNetError):
    """A data set is missing, damaged, or not of MNIST's shape."""


class RecipeError(MnistNetError):
    """A recipe has an unknown field or an impossible value."""


class RunError(MnistNetError):
    """A run exists already, is not there, or does not fit what is asked of it."""


class TrainingError(MnistNetError):
    """Training diverged."""


class TrackingError(MnistNetError):
    """A run cannot be tracked where it should be."""


class Interrupted(MnistNetError):  # noqa: N818 – it is nobody's error
    """Ctrl-C ended a run early; what was measured so far is kept."""


class WeightsError(MnistNetError):
    """A file does not hold this network's weights."""


class PictureError(MnistNetError):
    """A picture cannot be decoded, or is not one."""


class BundleError(MnistNetError):
    """A bundle fails verification."""


class RegistryError(MnistNetError):
    """The published models cannot be reached, read or written."""


class SigningError(MnistNetError):
    """A bundle cannot be signed, or a signature not be checked, here and now."""


class MissingError(MnistNetError):
    """A part of the program is not installed."""
