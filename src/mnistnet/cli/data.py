"""`mnistnet data`: what data sets are found, and where; `mnistnet data verify`: are they whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mnistnet.cli.options import DATA, JSON
from mnistnet.cli.output import print_json, print_table
from mnistnet.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


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
    return _verify(data, as_json=as_json) if action == "verify" else _list(data, as_json=as_json)


def _list(data: Path | None, *, as_json: bool) -> int:
    from mnistnet.data import candidates

    found = candidates(data)
    used = any(candidate.used for candidate in found)
    if as_json:
        print_json({"places": found})
    else:
        print_table([("*" if c.used else "", c.name, c.what, str(c.path)) for c in found])
        click.echo(
            "* is used" if used else "nothing found: MNIST will be downloaded into the cache"
        )
    return 0


def _verify(data: Path | None, *, as_json: bool) -> int:
    from mnistnet.data import find, verify

    place = find(data)
    if place is None:
        raise DataError("no data set is found to verify; name its folder with --data")
    checks = verify(place)
    usable = all(check.usable for check in checks)
    if as_json:
        print_json({"path": place, "usable": usable, "files": checks})
    else:
        print_table([(check.state, check.where, check.detail) for check in checks])
    return 0 if usable else 1
