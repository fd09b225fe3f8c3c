"""`mnistnet gate CANDIDATE --champion BUNDLE`: may this bundle be published?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mnistnet.cli.options import DATA, JSON, MARKDOWN, PATH, RULES

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("candidate", type=PATH)
@click.option("--champion", type=PATH, help="the bundle it is to replace")
@click.option("--best", type=PATH, help="the most accurate bundle ever published")
@RULES
@DATA
@MARKDOWN
@JSON
def gate(
    candidate: Path,
    champion: Path | None,
    best: Path | None,
    rules: Path | None,
    data: Path | None,
    markdown: bool,
    as_json: bool,
) -> int:
    """Decide by the rules in gates.toml whether a bundle may replace the champion.

    Exits with 0 if it may be published, with 1 if it is refused.
    """
    from mnistnet.gate.judge import judge

    verdict = judge(candidate, champion, best=best, rules=rules, data=data)
    click.echo(verdict.table(markdown=markdown))
    if not markdown:
        click.echo(f"{candidate}: {verdict.summary()}")
    if as_json:
        click.echo(json.dumps(verdict.as_dict()))
    return 0 if verdict.passed else 1
