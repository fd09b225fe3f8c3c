"""What is needed beyond the base install: imported when it is called for, or one clear line."""

from __future__ import annotations

from importlib import import_module

from mnistnet.errors import MissingError


def import_extra(extra: str, *modules: str) -> None:
    """Import modules of an extra, or say how to install it. Raises MissingError."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise missing(error.name or module, extra) from None


def missing(module: str | None, extra: str) -> MissingError:
    """Say which module is not there, and which extra brings it."""
    return MissingError(f"{module} is not installed; this needs: pip install 'mnistnet[{extra}]'")
