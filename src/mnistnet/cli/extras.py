"""What verbs need beyond the base install: imported when they are called, or one clear line."""

from __future__ import annotations

from importlib import import_module

from mnistnet.errors import MissingError


def import_extra(*modules: str) -> None:
    """Import modules of the extra `train`, or say how to install it."""
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise MissingError(
                f"{error.name} is not installed; this needs: pip install 'mnistnet[train]'"
            ) from None
