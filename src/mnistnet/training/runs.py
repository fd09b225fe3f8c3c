"""A run's folder, `runs/<name>/`, and the files in it; see lifecycle.py for how it is made.

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
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from typing import TYPE_CHECKING

from mnistnet.errors import FileError, RecipeError, RunError
from mnistnet.files import append_text, read_json
from mnistnet.provenance import Origin, Step, parts
from mnistnet.training.recipe import Recipe, recipe_from

if TYPE_CHECKING:
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
            if origin.earlier is not None:
                earlier = {number: Step(**part) for number, part in fields["earlier"].items()}
                origin = replace(origin, earlier=earlier)
            values: list[object] = [*origin.data.values(), *origin.environment.values()]
            for part in parts(origin):
                inputs = {} if part.inputs is None else part.inputs
                for kind in (part.source, part.versions, inputs):
                    values += kind.values()
                source = {name: part.source[name] for name in ("commit", "dirty")}
            if not all(isinstance(value, str | int | None) for value in values):
                raise TypeError("a value is of another type")
            return replace(origin, source=source)
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
