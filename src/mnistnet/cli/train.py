"""`mnistnet train`, `trials`, `summary` and `data`."""

from __future__ import annotations

import dataclasses
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import DATA, JSON, RUNS, Command, repeated_command
from mnistnet.cli.output import Bar, print_error, print_json, print_line, print_table
from mnistnet.errors import DataError, Interrupted, MnistNetError, UsageError
from mnistnet.extras import import_extra
from mnistnet.model.architecture import layer_table
from mnistnet.text import counted, interval
from mnistnet.training.recipe import RECIPES, Recipe, recipe_named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnistnet.training.engine import Engine
    from mnistnet.training.tracking import Trackers
    from mnistnet.training.train import TrainResult

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
    chosen = _chosen(recipe, flags)
    if resume and (not name or overwrite or chosen != Recipe()):
        raise UsageError("--resume takes --name alone: a resumed run keeps its recipe")
    click.echo(layer_table())  # at once: importing torch, where it trains, takes a second or more
    from mnistnet import data as datasets

    where: dict[str, Any] = {"runs": runs, "name": name, "on_engine": _print_engine}
    with datasets.load_in_background(data) as dataset:  # while the rest is imported
        from mnistnet.training import train as training

        where |= {"data": dataset, "trackers": _open_trackers(trackers)}
        import_s = time.perf_counter() - started
        with _naming_the_command(), Bar() as bar:
            where["on_progress"] = bar.show_training
            if resume:
                result = training.resume(**where)
            else:
                result = training.train(chosen, overwrite=overwrite, **where)
    _print_result(result, {"import": import_s, **result.phases_s}, as_json=as_json)


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
    chosen = _chosen(recipe, flags)
    from mnistnet.training import trials as training

    accuracies, tracked = [], _open_trackers(trackers)
    where: dict[str, Any] = {"data": data, "runs": runs, "on_engine": _print_engine}
    try:
        for trial in training.trials(chosen, seeds, trackers=tracked, **where):
            accuracies.append(trial.accuracy)
            click.echo(
                f"Seed: {trial.seed}, Accuracy: {trial.accuracy:.2%},"
                f" Training: {trial.train_s:.1f} s"
            )
    except KeyboardInterrupt:
        command = repeated_command(without=())
        raise Interrupted(
            f"interrupted after {counted(len(accuracies), 'seed')}; go on with: {command}"
        ) from None
    summary = _print_mean(chosen, accuracies)
    print_line(f"Each seed's line: {training.trials_file(runs, chosen)}")
    if as_json:
        print_json(summary)


@click.command()
def summary() -> None:
    """Print the network layer by layer: shapes, parameters, multiply-adds."""
    import_extra("train", "torch", "torchinfo")
    from mnistnet.model.network import summary_table

    click.echo(summary_table())


@click.command()
@click.argument("action", type=click.Choice(["list", "verify"]), default="list")
@DATA
@JSON
def data(action: str, data: Path | None, as_json: bool) -> int:
    """List the data sets that are found, or verify the one that is used.

    They are looked for in this order; the first one found is used, and without any, MNIST is
    downloaded into the cache: --data, $MNISTNET_DATA, ./data/mnist, ./data/MNIST/raw, cache.

    `mnistnet data verify` reads every file to its end, and compares it with MNIST's, byte for byte.
    It exits with 1 if a file is damaged or missing. Another data set, such as Fashion-MNIST, is
    whole without being MNIST.
    """
    from mnistnet import data as datasets

    if action == "list":
        found = datasets.candidates(data)
        if as_json:
            print_json({"places": found})
        else:
            print_table([("*" if c.used else "", c.name, c.what, str(c.path)) for c in found])
            none = "nothing found: MNIST will be downloaded into the cache"
            click.echo("* is used" if any(c.used for c in found) else none)
        return 0
    path = datasets.find(data)
    if path is None:
        raise DataError("no data set is found to verify; name its folder with --data")
    checks = datasets.verify(path)
    usable = all(check.usable for check in checks)
    if as_json:
        print_json({"path": path, "usable": usable, "files": checks})
    else:
        print_table([(check.state, check.where, check.detail) for check in checks])
    return 0 if usable else 1


def _chosen(recipe: str, flags: dict[str, Any]) -> Recipe:
    """Return a recipe with the fields that flags override."""
    given = {field: value for field, value in flags.items() if value is not None}
    return recipe_named(recipe).replacing(**given)


def _open_trackers(places: tuple[str, ...]) -> Trackers:
    from mnistnet.training.tracking import NO_TRACKERS, open_trackers

    if not places:
        return NO_TRACKERS
    from mnistnet.bundle.export_run import export_run

    return open_trackers(places, warn=print_error, export=export_run)


@contextmanager
def _naming_the_command() -> Iterator[None]:
    """Add the command that goes on to the error of a run that can be resumed."""
    try:
        yield
    except MnistNetError as error:
        if not error.run:
            raise
        decided = {field.name for field in dataclasses.fields(Recipe)}  # by the run
        without = {*decided, "recipe", "name", "overwrite", "resume"}
        command = repeated_command("--name", error.run, "--resume", without=without)
        raise type(error)(f"{error}; go on with: {command}") from None


def _print_engine(engine: Engine) -> None:
    """Print what computes, and why it is not the faster engine."""
    click.echo(f"Engine: {engine.environment}" + (f" ({engine.why})" if engine.why else ""))


def _print_result(result: TrainResult, phases_s: dict[str, float], *, as_json: bool) -> None:
    from mnistnet.metrics.intervals import wilson_interval

    split, wall_s = result.evaluated_on, sum(phases_s.values())
    ends = interval(*wilson_interval(result.correct, result.n))
    click.echo(f"{split.capitalize()} accuracy: {result.accuracy:.2%} ({ends})")
    times = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in phases_s.items())
    click.echo(f"Wall time: {wall_s:.1f} s ({times})")
    print_line(f"Results: {result.run.folder}")
    if as_json:
        figures = {
            "run": result.run.folder,
            "seed": result.recipe.seed,
            f"{split}_accuracy": result.accuracy,
            "wall_s": round(wall_s, 3),
            "images_per_s": round(result.images_per_s, 1),
        }
        print_json(figures)


def _print_mean(recipe: Recipe, accuracies: list[float]) -> dict[str, Any]:
    """Print the mean accuracy of a series, and return it with its interval as JSON names them."""
    from mnistnet.metrics.intervals import mean_interval

    summary: dict[str, Any] = {
        "recipe": recipe.name,
        "n": len(accuracies),
        "judged_on": recipe.evaluated_on,
        "mean": sum(accuracies) / len(accuracies),
        "min": min(accuracies),
        "max": max(accuracies),
    }
    spread = f"n = {len(accuracies)}"
    if len(accuracies) > 1:
        _, sd, low, high = mean_interval(accuracies)
        summary |= {"sd": sd, "low": low, "high": high}
        spread += f", {interval(low, high, 3)}, standard deviation {sd:.3%}"
    ends = f"min {min(accuracies):.2%}, max {max(accuracies):.2%}"
    click.echo(f"Mean {recipe.evaluated_on} accuracy: {summary['mean']:.3%} ({spread}, {ends})")
    return summary
