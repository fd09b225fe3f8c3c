"""The options that several verbs share, each defined once.

    @click.command()
    @BUNDLE
    @DATA
    @JSON
    def verb(bundle: Path, as_json: bool, **options: Any) -> None: ...

A verb names the parameters that it reads itself. The others go as `**options` to the function that
does the work, whose parameters have the same names. What only one verb takes stands above it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)

BUNDLE = click.argument("bundle", type=PATH)
OUT = click.option("-o", "--out", type=PATH, required=True, help="the bundle's folder")
DATA = click.option("--data", type=PATH, help="a data set: a folder of IDX files, or an .npz")
DATA_OR_PICTURES = click.option(
    "--data", type=PATH, help="a data set, or labelled pictures in folders 0 to 9"
)
RUNS = click.option(
    "--runs", type=PATH, default=Path("runs"), show_default=True, help="the folder of all runs"
)
RULES = click.option(
    "--rules", type=PATH, help="the gate's limits; by default gates.toml, where there is one"
)
JSON = click.option("--json", "as_json", is_flag=True, help="end with one JSON object")
MARKDOWN = click.option(
    "--markdown", is_flag=True, help="print Markdown, for a job's summary or a comment"
)
_REMOTE = click.option(
    "--remote",
    default="origin",
    show_default=True,
    help="a remote of this clone, or a URL or path",
)
_BRANCH = click.option(
    "--branch", default="models", show_default=True, help="the branch of the published models"
)

Command = Any  # what click's decorators take and return


def registry_options(command: Command) -> Command:
    """Add `--remote` and `--branch` to a command that reads or writes published models."""
    return _REMOTE(_BRANCH(command))
