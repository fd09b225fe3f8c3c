"""A run's folder, `runs/<name>/`: created once, and complete only when training has ended.

runs/fast-1/
  recipe.json           the hyperparameters
  origin.json           data, source, versions and processor
  metrics.jsonl         a line every 100 batches, and a last one with the result
  weights.safetensors   the trained network
  report.html  batch.png  mistakes.png
  checkpoint.safetensors   only while a run of several epochs is unfinished
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from mnistnet.errors import FileError, Interrupted, RecipeError, RunError
from mnistnet.files import (
    append_text,
    read_json,
    restore,
    swap,
    write_bytes,
    write_error,
    write_json,
)
from mnistnet.provenance import Origin
from mnistnet.training.checkpoint import epochs_done
from mnistnet.training.recipe import Recipe, recipe_from

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST = 2**53  # the whole numbers below it are exact as floats


@dataclass(frozen=True)
class Measurement:
    """A line of a run's metrics; loss and accuracy are running means over the epoch so far."""

    network: int  # from 1
    epoch: int  # from 1, over all networks
    batch: int  # of this epoch, from 1
    batches: int
    images: int  # trained on so far, over all epochs
    loss: float
    accuracy: float

    def __post_init__(self) -> None:
        """Refuse what is no measurement. Raises ValueError or TypeError."""
        if not all(0 <= value < LARGEST for value in astuple(self)):  # NaN is not, either
            raise ValueError(f"{self}: is out of bounds")


@dataclass(frozen=True)
class Result:
    """The last line of a finished run's metrics."""

    judged_on: str
    correct: int
    of: int


@dataclass(frozen=True)
class Run:
    """A run's folder and the files in it."""

    folder: Path

    @property
    def name(self) -> str:
        """The run's name, also while it is trained to replace another of that name."""
        name = self.folder.name
        return name[1:].removesuffix(".new") if name.startswith(".") else name

    @property
    def recipe_file(self) -> Path:
        """The run's hyperparameters."""
        return self.folder / "recipe.json"

    @property
    def origin_file(self) -> Path:
        """Data, source, versions and processor: enough to repeat the run to the bit."""
        return self.folder / "origin.json"

    @property
    def metrics_file(self) -> Path:
        """The metrics, a JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def weights_file(self) -> Path:
        """The trained network; exists only when training has ended."""
        return self.folder / "weights.safetensors"

    @property
    def checkpoint_file(self) -> Path:
        """The state after the last whole epoch, while a run is unfinished."""
        return self.folder / "checkpoint.safetensors"

    def recipe(self) -> Recipe:
        """Read the run's recipe. Raises FileError or RecipeError where it is damaged."""
        return recipe_from(read_json(self.recipe_file), where=str(self.recipe_file))

    def origin(self) -> Origin:
        """Read the run's provenance.

        Raises:
            RunError: the run is not finished, or its record is damaged.
            FileError: the record cannot be read.
        """
        if not self.recipe_file.is_file() or not self.weights_file.is_file():
            raise RunError(f"{self.folder}: is not a finished run; mnistnet train makes one")
        return self.recorded_origin()

    def recorded_origin(self) -> Origin:
        """Read the provenance of a run that may be unfinished; raises what `origin` does."""
        fields = read_json(self.origin_file)
        try:
            origin = Origin(**fields)
            recipe_from(origin.recipe, where="recipe")
            inputs = {} if origin.inputs is None else origin.inputs
            parts = (origin.data, origin.source, origin.environment, origin.versions, inputs)
            values = [value for part in parts for value in part.values()]
            if not all(isinstance(value, str | int | None) for value in values):
                raise TypeError("a value is of another type")
            return replace(origin, source={k: origin.source[k] for k in ("commit", "dirty")})
        except (TypeError, AttributeError, KeyError, RecipeError):
            raise RunError(f"{self.origin_file}: is not a run's record; train again") from None

    def log(self, line: Measurement | Result) -> None:
        """Append a line to the metrics. Raises FileError where it cannot be written."""
        append_text(self.metrics_file, json.dumps(asdict(line)) + "\n")

    def metrics(self) -> list[Measurement]:
        """Read the measurements; lines that a kill or a disk has damaged are left out.

        Raises:
            FileError: the file cannot be read.
        """
        try:
            content = self.metrics_file.read_bytes() if self.metrics_file.exists() else b""
        except OSError as error:
            raise FileError(f"{self.metrics_file}: cannot be read ({error.strerror})") from error
        lines = []
        for line in content.split(b"\n")[:-1]:
            with suppress(ValueError, TypeError, RecursionError):  # the result is none either
                lines.append(Measurement(**json.loads(line)))
        return lines


@contextmanager
def new_run(root: Path, name: str | None, recipe: Recipe, *, overwrite: bool) -> Iterator[Run]:
    """Create a run's folder; remove it again if the block fails before there is any result.

    A run that overwrites another is made next to it, in `.NAME.new`, and takes its place when the
    block has succeeded: until then, whatever is killed when, the old run is there.

    Args:
        root: the folder of all runs.
        name: of the run; None: the recipe's name and the next free number.
        recipe: written into the folder.
        overwrite: replace a run of that name.

    Raises:
        RunError: the name is taken or cannot be a folder's.
        FileError: the folder cannot be written.
    """
    run = Run(_claim(root, name, recipe, overwrite=overwrite))
    try:
        write_json(run.recipe_file, recipe.as_dict())
        yield run
    except Interrupted:
        raise  # what was measured so far is a result, and is kept
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    finish(run)


def unfinished_run(root: Path, name: str) -> Run:
    """Find a run to resume, and cut its metrics back to its checkpoint.

    Raises:
        RunError: there is no such run, or it is complete.
    """
    folder = root / check_name(name)
    recover(folder)
    run = Run(_unfinished(folder) if _unfinished(folder).is_dir() else folder)
    if not run.recipe_file.is_file():
        raise RunError(f"{run.folder}: there is no run to resume")
    if run.weights_file.exists():
        raise RunError(f"{run.folder}: is complete; --overwrite trains it again")
    done = epochs_done(run.checkpoint_file)
    kept = [json.dumps(asdict(line)) + "\n" for line in run.metrics() if line.epoch <= done]
    write_bytes(run.metrics_file, "".join(kept).encode())
    return run


def finish(run: Run) -> Run:
    """Move a complete run to its place, and return it there. Raises FileError."""
    final = run.folder.with_name(run.name)
    if run.folder != final:
        try:
            swap(run.folder, final)
        except OSError as error:
            raise write_error(final, error) from error
    return Run(final)


def recover(folder: Path) -> None:
    """Clear up after a run that was killed while it took the place of another, if one was.

    Raises:
        FileError: the folder cannot be written.
    """
    folder = folder.resolve()  # "." has no name
    if not folder.name:
        return
    new = _unfinished(folder)
    try:
        if Run(new).weights_file.is_file():
            swap(new, folder)
        restore(folder)
    except OSError as error:
        raise write_error(folder, error) from error


def check_name(name: str) -> str:
    """Return a run's name, or raise RunError if it could lead out of the folder of runs."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,99}", name, flags=re.ASCII) or name.endswith("."):
        raise RunError(f"{name!r} cannot name a run; use letters, digits, '.', '_', '+' and '-'")
    return name


def _claim(root: Path, name: str | None, recipe: Recipe, *, overwrite: bool) -> Path:
    """Create the folder, for this process alone."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        if name is None:
            return _numbered_folder(root, check_name(recipe.name))
        folder = root / check_name(name)
        recover(folder)
        if overwrite and folder.exists():
            if folder.is_symlink() or not (folder / "recipe.json").is_file():
                raise RunError(f"{folder}: is a link, or no run; --overwrite only replaces runs")
            folder = _unfinished(folder)
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier attempt
        folder.mkdir()
    except FileExistsError:
        hint = "choose another --name, or --overwrite, or --resume if it was interrupted"
        raise RunError(f"{root / name if name else root}: exists already; {hint}") from None
    except OSError as error:
        raise write_error(root, error) from error
    return folder


def _unfinished(folder: Path) -> Path:
    """Return where a run is trained that will replace another."""
    return folder.with_name(f".{folder.name}.new")


def _numbered_folder(root: Path, stem: str) -> Path:
    for number in count(1):
        folder = root / f"{stem}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count() never ends")
