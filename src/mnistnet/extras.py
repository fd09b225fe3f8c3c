"""Packages that only an extra installs: imported when they are needed, or one clear line."""

from __future__ import annotations

import gc
from importlib import import_module

from mnistnet.errors import MissingError


def import_extra(extra: str, *modules: str) -> None:
    """Import modules that an extra installs. Raises MissingError, which names the extra."""
    gc.disable()  # nothing of the million objects that an import makes is garbage yet
    try:
        for module in modules:
            import_module(module)
    except ImportError as error:
        name = error.name or module
        raise MissingError(
            f"{name} is not installed; this needs: pip install 'mnistnet[{extra}]'"
        ) from None
    finally:
        gc.freeze()  # nor at the end, where collecting them would take half a second
        gc.enable()
