"""The errors that a user can cause: each message is one line, what, where, and what to do.

MnistNetError
├── UsageError      the options of a command do not fit together
├── FileError       a file or folder cannot be read or written
├── DataError       a data set is missing, damaged, or not of MNIST's shape
├── RecipeError     a recipe has an unknown field or an impossible value
├── RunError        a run exists already, is missing, or does not fit what is asked of it
├── TrainingError   training diverged
├── TrackingError   a run cannot be tracked where it should be
├── Interrupted     Ctrl-C ended a run early; what was measured so far is kept
├── WeightsError    a file does not hold this network's weights
├── PictureError    a picture cannot be decoded, or is not one
├── BundleError     a bundle fails verification
├── RegistryError   the published models cannot be reached, read or written
├── SigningError    a bundle cannot be signed, or a signature not be checked, here and now
└── MissingError    a part of the program is not installed
"""

from __future__ import annotations


class MnistNetError(Exception):
    """Any error that a user can cause.

    Attributes:
        run: the name of the run that it left and that --resume goes on with, if there is one.
    """

    run = ""


class UsageError(MnistNetError): ...


class FileError(MnistNetError): ...


class DataError(MnistNetError): ...


class RecipeError(MnistNetError): ...


class RunError(MnistNetError): ...


class TrainingError(MnistNetError): ...


class TrackingError(MnistNetError): ...


class Interrupted(MnistNetError): ...  # noqa: N818 – it is nobody's error


class WeightsError(MnistNetError): ...


class PictureError(MnistNetError): ...


class BundleError(MnistNetError): ...


class RegistryError(MnistNetError): ...


class SigningError(MnistNetError): ...


class MissingError(MnistNetError): ...
