"""`mnistnet fingerprint`, `mnistnet reproduce BUNDLE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import DATA, JSON, MARKDOWN, PATH, registry_options
from mnistnet.cli.output import Bar, print_json, print_line, print_table
from mnistnet.errors import UsageError
from mnistnet.files import append_text
from mnistnet.provenance import Changes
from mnistnet.text import escape_markdown, p_value, points, points_interval

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.provenance import Basis
    from mnistnet.registry.reproduce import Reproduction


@click.command()
@click.option("--recipe", default="release", show_default=True, help="its name, or a recipe.json")
@DATA
@click.option(
    "--constraints", type=PATH, help="take versions from this file, not from what is installed"
)
@click.option("--against", type=PATH, metavar="BUNDLE", help="compare with this bundle's")
@click.option("--against-champion", is_flag=True, help="compare with that of the published one")
@registry_options
@click.option(
    "--answer",
    type=PATH,
    metavar="FILE",
    help="append train=true or =false to this file, and export=…, and exit with 0",
)
@MARKDOWN
@JSON
def fingerprint(
    against: Path | None,
    against_champion: bool,
    remote: str,
    branch: str,
    answer: Path | None,
    markdown: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Print a hash over all that the weights depend on, and one over what makes a bundle of them.

    The first is of code, recipe, data and versions; `export` is of the code of preparation, graphs,
    report, card and threshold, and the versions of onnx and its like.

    With --against or --against-champion, answers whether there is anything to train or to export:
    exits with 0 if both would start from the same as that bundle's did, and with 1, with a list of
    what differs, if not or if nothing is published. --answer is for a workflow's step, which exit
    code 1 would end; its file is $GITHUB_OUTPUT, for example.
    """
    if against and against_champion:
        raise UsageError("--against and --against-champion: name one of them")
    if answer and not (against or against_champion):
        raise UsageError("--answer: goes with --against or --against-champion")
    training, export = _bases(**options)
    inputs = training.inputs | {"export": export.inputs["all"]}
    result: dict[str, object] = {"fingerprint": inputs}
    found = Changes([], [])
    if against or against_champion:
        what, found = _changes(training, export, against, remote, branch)
        _print_changes(what, found, markdown=markdown)
        result |= {"same": not found.lines, "differences": found.lines}
    else:
        print_table(list(inputs.items()))
    if as_json:
        print_json(result)
    if answer:
        train, again = (str(bool(lines)).lower() for lines in (found.training, found.lines))
        append_text(answer, f"train={train}\nexport={again}\n")
    return 1 if found.lines and not answer else 0


@click.command()
@click.argument("bundle")
@click.option(
    "--significant", is_flag=True, help="exit with 1 only if the accuracy differs significantly"
)
@DATA
@registry_options
@JSON
def reproduce(
    bundle: str, significant: bool, data: Path | None, as_json: bool, **registry: str
) -> int:
    """Train BUNDLE, a folder or a version such as v3, again, and compare the weights bit for bit.

    Device, engine, precision and threads are those that the bundle's manifest names. Exits with 0
    if the weights are the same, and with 1 if not, with a list of what differs in the environment
    and whether the difference in accuracy is significant.
    """
    from mnistnet.registry.reproduce import located, reproduce

    with located(bundle, **registry) as folder, Bar() as bar:
        result = reproduce(folder, data=data, on_progress=bar.show_training)
    _print_reproduction(bundle, result)
    if as_json:
        print_json(result.as_dict())
    return 0 if result.same or (significant and not result.significant) else 1


def _bases(recipe: str, data: Path | None, constraints: Path | None) -> tuple[Basis, Basis]:
    """Return the inputs that training a recipe, and exporting it, would have here and now."""
    from mnistnet import data as datasets
    from mnistnet.provenance import export_basis, training_basis
    from mnistnet.training.recipe import recipe_named

    named = recipe_named(recipe)
    dataset = datasets.load(data, validation=named.validation)
    training = training_basis(named.as_dict(), dataset.sha256, constraints=constraints)
    return training, export_basis(constraints=constraints)


def _changes(
    training: Basis, export: Basis, against: Path | None, remote: str, branch: str
) -> tuple[str, Changes]:
    """Return what was compared with, the champion if nothing is named, and what differs."""
    if against:
        from mnistnet.bundle.manifest import read_manifest
        from mnistnet.provenance import changes_since

        manifest = read_manifest(against)
        return str(against), changes_since(manifest.origin, manifest.export, training, export)
    from mnistnet.registry.read import changed_since_champion

    return changed_since_champion(training, export, remote=remote, branch=branch)


def _print_changes(what: str, found: Changes, *, markdown: bool) -> None:
    """Print what differs, a line each, and what follows from it."""
    inputs = "other inputs than here" if found.training else "the same inputs as here"
    conclusion = f"{what}: was trained from {inputs}; " if what else ""
    if found.training:
        conclusion += "there is something to train"
    elif found.export:
        conclusion += "there is nothing to train, but something to export"
    else:
        conclusion += "there is nothing to train or to export"
    lines = found.lines
    if markdown:
        lines = [f"- {escape_markdown(line)}" for line in lines]
        conclusion = f"\n{escape_markdown(conclusion)}"
    click.echo("\n".join([*lines, conclusion]))


def _print_reproduction(bundle: str, result: Reproduction) -> None:
    images = f"of {result.judged:,} {result.judged_on} images"
    there, here = (n / result.judged for n in (result.correct_there, result.correct_here))
    if result.same:
        click.echo(f"Accuracy: {there:.2%} {images}")
        print_line(f"{bundle}: trained again to the same weights, bit for bit")
        return
    difference, low, high = result.difference
    for line in result.differences or ["nothing that is recorded differs"]:
        print_line(line)
    click.echo(f"Accuracy: {there:.2%} there, {here:.2%} here, {images}")
    click.echo(
        f"Difference: {points(difference)} points ({points_interval(low, high)}, McNemar"
        f" {p_value(result.p)}): {'' if result.significant else 'not '}significant"
    )
    print_line(f"{bundle}: trained again to other weights")
