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
from mnistnet.training.tracking import open_trackers

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.training.train import TrainResult


def _recipe_flags(command: Command) -> Command:
    """Give a command `--recipe`, and a flag for each of a recipe's fields."""
    for f in reversed(dataclasses.fields(Recipe)):
        if f.name in ("name", "seed"):
            continue
        choices = f.metadata.get("choices")
        kind = click.Choice(choices) if choices else type(f.default)
        flag = "--" + f.name.replace("_", "-")
        command = click.option(flag, f.name, type=kind, help=f.metadata["help"])(command)
    known = ", ".join(RECIPES)
    text = f"{known}, or a recipe.json; the flags below override its fields"
    return click.option("--recipe", "recipe_name", default="fast", show_default=True, help=text)(
        command
    )


_trackers = click.option(
    "--tracker",
    "places",
    multiple=True,
    metavar="tensorboard|mlflow[=URI]",
    help="also report to TensorBoard (in the run's folder) or MLflow (mlflow.db); repeatable",
)


@click.command()
@_recipe_flags
@click.option("--seed", type=int, help=Recipe.__dataclass_fields__["seed"].metadata["help"])
@DATA
@RUNS
@click.option("--name", help="of the run; without one it gets a fresh one")
@click.option("--overwrite", is_flag=True, help="replace a run of that name")
@click.option("--resume", is_flag=True, help="go on with an interrupted run, named by --name")
@_trackers
@JSON
def train(
    recipe_name: str,
    data: Path | None,
    runs: Path,
    name: str | None,
    overwrite: bool,
    resume: bool,
    places: tuple[str, ...],
    as_json: bool,
    **overrides: Any,
) -> None:
    """Train the network, and write weights, measurements and pictures to runs/<name>/."""
    started = time.perf_counter()
    changes = {k: v for k, v in overrides.items() if v is not None}
    recipe = recipe_named(recipe_name).replacing(**changes)
    if resume and (not name or overwrite or changes or recipe_name != "fast"):
        raise UsageError("--resume takes --name alone: a resumed run keeps its recipe")
    click.echo(layer_table())  # at once: importing NumPy and torch takes a second or more
    from mnistnet import data as datasets

    with datasets.load_in_background(data) as dataset:  # the import keeps only one core busy
        pipeline = _import_training()
    trackers = open_trackers(places, warn=_warn)
    import_s = time.perf_counter() - started
    with Bar() as bar:
        given = {"data": dataset, "runs": runs, "name": name, "trackers": trackers}
        if trackers:
            from mnistnet.bundle.export_run import export_run

            given["export"] = export_run
        if resume:
            result = pipeline.resume(on_progress=bar.show_training, **given)
        else:
            result = pipeline.train(
                recipe, overwrite=overwrite, on_progress=bar.show_training, **given
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
@_trackers
@JSON
def trials(
    recipe_name: str,
    seeds: int,
    data: Path | None,
    runs: Path,
    places: tuple[str, ...],
    as_json: bool,
    **overrides: Any,
) -> None:
    """Train with several seeds and give the mean with its interval; interrupted, it goes on."""
    from mnistnet.metrics.intervals import mean_interval
    from mnistnet.training.trials import trials_file

    changes = {k: v for k, v in overrides.items() if v is not None}
    recipe = recipe_named(recipe_name).replacing(**changes)
    _import_training()
    from mnistnet.training.trials import trials as run_trials

    trackers = open_trackers(places, warn=_warn)
    accuracies: list[float] = []
    for trial in run_trials(recipe, seeds, data=data, runs=runs, trackers=trackers):
        accuracies.append(trial.accuracy)
        click.echo(
            f"Seed: {trial.seed}, Accuracy: {trial.accuracy:.2%}, Training: {trial.train_s:.1f} s"
        )
    summary: dict[str, Any] = {"recipe": recipe.name, "n": len(accuracies)}
    summary |= {"judged_on": "validation" if recipe.validation else "test"}
    summary |= {
        "mean": sum(accuracies) / len(accuracies),
        "min": min(accuracies),
        "max": max(accuracies),
    }
    line = f"Mean {summary['judged_on']} accuracy: {summary['mean']:.3%} (n = {len(accuracies)}"
    if len(accuracies) > 1:
        mean = mean_interval(accuracies)
        summary |= {"sd": mean.sd, "low": mean.low, "high": mean.high}
        line += f", 95% interval {mean.low:.3%}–{mean.high:.3%}, standard deviation {mean.sd:.3%}"
    click.echo(f"{line}, min {summary['min']:.2%}, max {summary['max']:.2%})")
    click.echo(f"Each seed's line: {trials_file(runs, recipe)}")
    if as_json:
        click.echo(json.dumps(summary))


@click.command()
def summary() -> None:
    """Print the network layer by layer: shapes, parameters, multiply-adds."""
    import_extra("train", "torch", "torchinfo")
    from mnistnet.model.network import summary_table

    click.echo(summary_table())


def _import_training() -> Any:
    """Import what training needs (torch above all: this is timed as import)."""
    import_extra("train", "torch", "safetensors")
    from mnistnet.training import loop  # noqa: F401
    from mnistnet.training import train as pipeline

    return pipeline


def _warn(line: str) -> None:
    click.echo(f"mnistnet: {line}", err=True)


def _print_result(result: TrainResult, import_s: float) -> None:
    from mnistnet.metrics.intervals import wilson_interval
    from mnistnet.training.hardware import describe

    low, high = wilson_interval(result.correct, result.judged)
    phases = {"import": import_s, **result.phases_s}
    times = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in phases.items())
    click.echo(
        f"{result.judged_on.capitalize()} accuracy: {result.accuracy:.2%}"
        f" (95% interval {low * 100:.2f}–{high * 100:.2f})"
    )
    click.echo(f"Wall time: {sum(phases.values()):.1f} s ({times})")
    how = describe(result.recipe)
    click.echo(f"Computed: {how['engine']}, {how['precision']}, {how['threads']} threads")
    click.echo(f"Results: {result.run.folder}")


def _as_json(result: TrainResult, wall_s: float) -> dict[str, object]:
    return {
        "run": str(result.run.folder),
        "seed": result.recipe.seed,
        f"{result.judged_on}_accuracy": result.accuracy,
        "wall_s": round(wall_s, 3),
        "images_per_s": round(result.images_per_s, 1),
    }
