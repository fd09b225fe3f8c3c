"""`mnistnet train`, `mnistnet trials`, `mnistnet summary`."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import DATA, JSON, RUNS, Command
from mnistnet.cli.progress import Bar
from mnistnet.errors import UsageError
from mnistnet.extras import import_extra
from mnistnet.model.architecture import layer_table
from mnistnet.training.recipe import RECIPES, Recipe, recipe_named
from mnistnet.training.tracking import Trackers, open_trackers

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.training.train import TrainResult
    from mnistnet.training.trials import Trial

TRACKERS = click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="tensorboard|mlflow[=URI]",
    help="also track in TensorBoard (in the run's folder) or MLflow (mlflow.db); repeatable",
)


def _recipe_flags(command: Command) -> Command:
    """Add `--recipe` and a flag for each of a recipe's fields but the seed."""
    for field in reversed(dataclasses.fields(Recipe)):
        if field.name not in ("name", "seed"):
            choices = field.metadata.get("choices")
            kind = click.Choice(choices) if choices else type(field.default)
            flag = "--" + field.name.replace("_", "-")
            command = click.option(flag, type=kind, help=field.metadata["help"])(command)
    text = f"{', '.join(RECIPES)}, or a recipe.json; the flags below override its fields"
    return click.option("--recipe", default="fast", show_default=True, help=text)(command)


@click.command()
@_recipe_flags
@click.option("--seed", type=int, help=Recipe.__dataclass_fields__["seed"].metadata["help"])
@DATA
@RUNS
@click.option("--name", help="of the run; default: the recipe's name and the next free number")
@click.option("--overwrite", is_flag=True, help="replace a run of that name")
@click.option("--resume", is_flag=True, help="resume an interrupted run, named by --name")
@TRACKERS
@JSON
def train(
    recipe: str,
    data: Path | None,
    runs: Path,
    name: str | None,
    overwrite: bool,
    resume: bool,
    trackers: tuple[str, ...],
    as_json: bool,
    **flags: Any,
) -> None:
    """Train the network, and write weights, metrics and pictures to runs/<name>/."""
    started = time.perf_counter()
    changed = _given(flags)
    if resume and (not name or overwrite or changed or recipe != "fast"):
        raise UsageError("--resume takes --name alone: a resumed run keeps its recipe")
    chosen = recipe_named(recipe).replacing(**changed)
    click.echo(layer_table())  # at once: importing NumPy and torch takes a second or more
    from mnistnet import data as datasets

    with datasets.load_in_background(data) as dataset:  # while torch is imported
        pipeline = _import_training()
    tracked = _open_trackers(trackers)
    import_s = time.perf_counter() - started
    with Bar() as bar:
        where = {"data": dataset, "runs": runs, "name": name, "trackers": tracked}
        if resume:
            result = pipeline.resume(on_progress=bar.show_training, **where)
        else:
            result = pipeline.train(
                chosen, overwrite=overwrite, on_progress=bar.show_training, **where
            )
    _print_result(result, import_s)
    if as_json:
        click.echo(json.dumps(_as_json(result, time.perf_counter() - started)))


@click.command()
@_recipe_flags
@click.option(
    "--seeds", type=click.IntRange(1, 10_000), default=10, show_default=True, help="how many"
)
@DATA
@RUNS
@TRACKERS
@JSON
def trials(
    recipe: str,
    seeds: int,
    data: Path | None,
    runs: Path,
    trackers: tuple[str, ...],
    as_json: bool,
    **flags: Any,
) -> None:
    """Train with several seeds; print the mean accuracy and its interval.

    An interrupted series continues where it stopped.
    """
    chosen = recipe_named(recipe).replacing(**_given(flags))
    _import_training()
    from mnistnet.training import trials as pipeline

    series, tracked = [], _open_trackers(trackers)
    for trial in pipeline.trials(chosen, seeds, data=data, runs=runs, trackers=tracked):
        series.append(trial)
        click.echo(
            f"Seed: {trial.seed}, Accuracy: {trial.accuracy:.2%}, Training: {trial.train_s:.1f} s"
        )
    summary = _summary(chosen, series)
    click.echo(_summary_line(summary))
    click.echo(f"Each seed's line: {pipeline.trials_file(runs, chosen)}")
    if as_json:
        click.echo(json.dumps(summary))


@click.command()
def summary() -> None:
    """Print the network layer by layer: shapes, parameters, multiply-adds."""
    import_extra("train", "torch", "torchinfo")
    from mnistnet.model.network import summary_table

    click.echo(summary_table())


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in flags.items() if value is not None}


def _import_training() -> Any:
    """Import all that training needs, torch above all, so that this is timed as import."""
    import_extra("train", "torch", "safetensors")
    from mnistnet.training import loop  # noqa: F401
    from mnistnet.training import train as pipeline

    return pipeline


def _open_trackers(places: tuple[str, ...]) -> Trackers:
    def export(run: Path, bundle: Path, *, data: Path | None) -> None:
        from mnistnet.bundle.export_run import export_run

        export_run(run, bundle, data=data)

    def warn(line: str) -> None:
        click.echo(f"mnistnet: {line}", err=True)

    return open_trackers(places, warn=warn, export=export)


def _print_result(result: TrainResult, import_s: float) -> None:
    from mnistnet.metrics.intervals import wilson_interval
    from mnistnet.training.hardware import describe

    low, high = wilson_interval(result.correct, result.n)
    phases = {"import": import_s, **result.phases_s}
    times = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in phases.items())
    click.echo(
        f"{result.evaluated_on.capitalize()} accuracy: {result.accuracy:.2%}"
        f" (95% interval {low * 100:.2f}–{high * 100:.2f})"
    )
    click.echo(f"Wall time: {sum(phases.values()):.1f} s ({times})")
    computed = describe(result.recipe)
    click.echo(
        f"Computed: {computed['engine']}, {computed['precision']}, {computed['threads']} threads"
    )
    click.echo(f"Results: {result.run.folder}")


def _as_json(result: TrainResult, wall_s: float) -> dict[str, object]:
    return {
        "run": str(result.run.folder),
        "seed": result.recipe.seed,
        f"{result.evaluated_on}_accuracy": result.accuracy,
        "wall_s": round(wall_s, 3),
        "images_per_s": round(result.images_per_s, 1),
    }


def _summary(recipe: Recipe, series: list[Trial]) -> dict[str, Any]:
    """Return the series' JSON object; deviation and interval only for more than one seed."""
    from mnistnet.metrics.intervals import mean_interval

    accuracies = [trial.accuracy for trial in series]
    summary: dict[str, Any] = {
        "recipe": recipe.name,
        "n": len(series),
        "judged_on": recipe.evaluated_on,
        "mean": sum(accuracies) / len(series),
        "min": min(accuracies),
        "max": max(accuracies),
    }
    if len(series) > 1:
        mean = mean_interval(accuracies)
        summary |= {"sd": mean.sd, "low": mean.low, "high": mean.high}
    return summary


def _summary_line(summary: dict[str, Any]) -> str:
    spread = "n = {n}"
    if "sd" in summary:
        spread += ", 95% interval {low:.3%}–{high:.3%}, standard deviation {sd:.3%}"
    line = "Mean {judged_on} accuracy: {mean:.3%} (" + spread + ", min {min:.2%}, max {max:.2%})"
    return line.format(**summary)
