"""`mnistnet data`: what data sets are found, and where; `mnistnet data verify`: are they whole?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mnistnet.cli.options import DATA, JSON
from mnistnet.errors import DataError
from mnistnet.text import table

if TYPE_CHECKING:
    from pathlib import Path


@click.group(invoke_without_command=True)
@DATA
@JSON
@click.pass_context
def data(context: click.Context, data: Path | None, as_json: bool) -> None:
    """List the data sets that are found, and where.

    They are looked for in this order; the first one found is used, and without any, MNIST is
    downloaded into the cache: --data, $MNISTNET_DATA, ./data/mnist, ./data/MNIST/raw, cache.
    """
    if context.invoked_subcommand:
        if data or as_json:
            raise click.UsageError("put the options last: mnistnet data verify --data PATH --json")
        return
    from mnistnet.data import candidates

    found = candidates(data)
    if as_json:
        places = [asdict(candidate) | {"path": str(candidate.path)} for candidate in found]
        click.echo(json.dumps({"places": places}))
        return
    click.echo(
        "\n".join(table([("*" if c.used else "", c.name, c.what, str(c.path)) for c in found]))
    )
    used = any(candidate.used for candidate in found)
    click.echo("* is used" if used else "nothing found: MNIST will be downloaded into the cache")


@data.command()
@DATA
@JSON
@click.pass_context
def verify(context: click.Context, data: Path | None, as_json: bool) -> None:
    """Read every file to its end, and compare it with MNIST's, byte for byte.

    Exits with 1 if a file is damaged or missing. Another data set, such as Fashion-MNIST, is
    whole without being MNIST.
    """
    from mnistnet.data import find, verify

    place = find(data)
    if place is None:
        raise DataError("no data set is found to verify; name its folder with --data")
    checks = verify(place)
    usable = all(check.usable for check in checks)
    if as_json:
        files = [asdict(check) for check in checks]
        click.echo(json.dumps({"path": str(place), "usable": usable, "files": files}))
    else:
        click.echo("\n".join(table([(check.state, check.where, check.detail) for check in checks])))
    context.exit(0 if usable else 1)
