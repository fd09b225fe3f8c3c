"""What is needed beyond the base install: imported when it is called for, or one clear line."""

from __future__ import annotations

import gc
from importlib import import_module

from mnistnet.errors import MissingError


def import_extra(extra: str, *modules: str) -> None:
    """Import modules of an extra, or say how to install it. Raises MissingError."""
    gc.disable()  # the million objects that an import makes are not garbage: do not search them
    try:
        for module in modules:
            import_module(module)
    except ImportError as error:
        raise missing(error.name or module, extra) from None
    finally:
        gc.freeze()  # nor later; at the end alone, that would take half a second
        gc.enable()


def missing(module: str | None, extra: str) -> MissingError:
    """Say which module is not there, and which extra brings it."""
    return MissingError(f"{module} is not installed; this needs: pip install 'mnistnet[{extra}]'")
