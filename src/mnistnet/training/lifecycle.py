"""A run's life: its folder is created once, trained by one process at a time, and put in its place.

    with new_run(Path("runs"), "good", recipe, overwrite=True) as run: ...
    with resumed_run(Path("runs"), "good") as run: ...

runs/good               complete, or unfinished
runs/.good.new          what is trained to take its place
runs/.good.replaced     what it takes the place of, for the moment of the swap
runs/.good.lock         held by the process that trains either
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from itertools import count
from typing import TYPE_CHECKING

from mnistnet.errors import Interrupted, RunError, TrainingError
from mnistnet.files import (
    locked,
    replaced,
    restore,
    swap,
    write_bytes,
    write_error,
    write_json,
)
from mnistnet.training.checkpoint import epochs_done
from mnistnet.training.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnistnet.training.recipe import Recipe


@contextmanager
def new_run(root: Path, name: str | None, recipe: Recipe, *, overwrite: bool) -> Iterator[Run]:
    """Create a run's folder, for this process alone.

    A run that overwrites another is made next to it, in `.NAME.new`, and takes its place when the
    block has completed it: until then, whatever is killed when, the old run is there. When the
    block fails, the folder is removed, unless the run can be resumed.

    Args:
        root: the folder of all runs.
        name: of the run; None: the recipe's name and the next free number.
        recipe: written into the folder.
        overwrite: replace a run of that name.

    Raises:
        RunError: the name is taken or cannot be a folder's, or an earlier run that is to take its
            place was interrupted.
        FileError: another process trains it, or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            if name is None:
                folder = _numbered_folder(root, check_name(recipe.name), stack)
            else:
                folder = _named_folder(root / check_name(name), stack, overwrite=overwrite)
        except FileExistsError as error:
            hint = "choose another --name, or --overwrite, or --resume if it was interrupted"
            raise RunError(f"{error.filename}: exists already; {hint}") from None
        except OSError as error:
            raise write_error(root, error) from error
        run = stack.enter_context(_finishing(Run(folder)))
        try:
            write_json(run.recipe_file, recipe.as_dict())
            yield run
        except BaseException as error:
            if not _is_worth_keeping(run, error):
                shutil.rmtree(run.folder, ignore_errors=True)
            raise


@contextmanager
def resumed_run(root: Path, name: str) -> Iterator[Run]:
    """Find a run to resume, for this process alone, and cut its metrics back to its checkpoint.

    Raises:
        RunError: there is no such run, or it is complete.
        FileError: another process trains it, or the folder cannot be written.
    """
    folder = root / check_name(name)
    if not root.is_dir():
        raise RunError(f"{folder}: there is no run to resume")
    with locked(folder):
        _recover(folder)
        new = _unfinished(folder)
        run = Run(new if new.is_dir() else folder)
        if not run.recipe_file.is_file():
            raise RunError(f"{run.folder}: there is no run to resume")
        if run.weights_file.exists():
            raise RunError(f"{run.folder}: is complete; --overwrite trains it again")
        done = epochs_done(run.checkpoint_file)
        kept = [json.dumps(asdict(line)) + "\n" for line in run.metrics() if line.epoch <= done]
        write_bytes(run.metrics_file, "".join(kept).encode())
        with _finishing(run):
            yield run


def recover(folder: Path) -> None:
    """Clear up after a run that was killed while it took the place of another, if one was.

    Raises:
        FileError: another process trains it, or the folder cannot be written.
    """
    folder = folder.resolve()  # "." has no name
    if folder.name and (_unfinished(folder).exists() or replaced(folder).exists()):
        with locked(folder):
            _recover(folder)


def check_name(name: str) -> str:
    """Return a run's name, or raise RunError if it could lead out of the folder of runs."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,99}", name, flags=re.ASCII) or name.endswith("."):
        raise RunError(f"{name!r} cannot name a run; use letters, digits, '.', '_', '+' and '-'")
    return name


@contextmanager
def _finishing(run: Run) -> Iterator[Run]:
    """Move a run to its place at the block's end if it is complete by then, whatever ends it."""
    try:
        yield run
    finally:
        final = run.folder.with_name(run.name)
        if run.folder != final and run.weights_file.exists():
            try:
                swap(run.folder, final)
            except OSError as error:
                raise write_error(final, error) from error


def _is_worth_keeping(run: Run, error: BaseException) -> bool:
    """Return whether a run that an error has ended can be resumed, or has measured something."""
    if run.weights_file.exists():
        return True
    if isinstance(error, TrainingError):  # resumed, it would diverge again
        return False
    return run.checkpoint_file.exists() or (
        isinstance(error, Interrupted) and run.metrics_file.exists()
    )


def _recover(folder: Path) -> None:
    """Put the whole one of two runs in its place; for whoever has the run's lock."""
    new = _unfinished(folder)
    try:
        if Run(new).weights_file.is_file():
            swap(new, folder)
        restore(folder)
    except OSError as error:
        raise write_error(folder, error) from error


def _named_folder(folder: Path, stack: ExitStack, *, overwrite: bool) -> Path:
    """Create a run's folder, or that of the run which will overwrite it, and lock its name."""
    stack.enter_context(locked(folder))
    _recover(folder)
    if overwrite and folder.exists():
        if folder.is_symlink() or not (folder / "recipe.json").is_file():
            raise RunError(f"{folder}: is a link, or no run; --overwrite only replaces runs")
        name, folder = folder.name, _unfinished(folder)
        if Run(folder).checkpoint_file.exists():
            error = RunError(
                f"{folder}: holds an interrupted run that is to take the place of {name};"
                " to start again, delete that folder"
            )
            error.run = name
            raise error
        shutil.rmtree(folder, ignore_errors=True)  # not an epoch of it was complete
    folder.mkdir()
    return folder


def _numbered_folder(root: Path, stem: str, stack: ExitStack) -> Path:
    """Create the first numbered folder that is free, and lock its name."""
    for number in count(1):
        folder = root / f"{stem}-{number}"
        with suppress(FileExistsError), ExitStack() as attempt:
            if not folder.exists():
                attempt.enter_context(locked(folder))
                folder.mkdir()
                stack.push(attempt.pop_all())
                return folder
    raise AssertionError("count() never ends")


def _unfinished(folder: Path) -> Path:
    """Return where a run is trained that will replace another."""
    return folder.with_name(f".{folder.name}.new")
