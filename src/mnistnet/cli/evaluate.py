"""`mnistnet eval BUNDLE|RUN`: how good is it? `mnistnet gate BUNDLE`: may it be published?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import DATA, DATA_OR_PICTURES, JSON, MARKDOWN, PATH, RULES
from mnistnet.cli.output import Bar, print_json, print_line

if TYPE_CHECKING:
    from pathlib import Path


@click.command("eval")
@click.argument("model", type=PATH, metavar="BUNDLE|RUN")
@DATA_OR_PICTURES
@click.option(
    "--against", type=PATH, help="another bundle or run, to compare with on the same images"
)
@click.option("-o", "--out", type=PATH, help="the report's folder; otherwise below reports/")
@click.option("--quick", is_flag=True, help="leave out robustness and timings, a minute's work")
@MARKDOWN
@JSON
def evaluate(model: Path, markdown: bool, as_json: bool, **options: Any) -> None:
    """Evaluate a model, and write report.json and report.html.

    On MNIST's test images, if no other data are named. A bundle needs no torch.
    """
    from mnistnet.evaluation.evaluate import evaluate
    from mnistnet.report.summary import render_markdown, summarise

    warnings.simplefilter("ignore")  # of oddities in a picture's file that do not matter
    with Bar() as bar:
        done = evaluate(model, on_progress=bar.show_evaluation, **options)
    if markdown:
        click.echo(render_markdown(done.report))
    else:
        for line in summarise(done.report):
            print_line(line)
    print_line(f"Report: {done.page}", err=markdown)
    if as_json:
        print_json(done.as_dict())


@click.command()
@click.argument("candidate", type=PATH)
@click.option("--champion", type=PATH, help="the bundle it is to replace")
@click.option("--best", type=PATH, help="the most accurate bundle ever published")
@RULES
@DATA
@MARKDOWN
@JSON
def gate(
    candidate: Path, data: Path | None, markdown: bool, as_json: bool, **options: Path | None
) -> int:
    """Decide by the rules in gates.toml whether a bundle may replace the champion.

    Exits with 0 if it may be published, with 1 if it is refused.
    """
    from mnistnet.gate.judge import Evaluator, judge

    verdict = judge(candidate, evaluator=Evaluator(data), **options)
    click.echo(verdict.table(markdown=markdown))
    if not markdown:
        print_line(f"{candidate}: {verdict.summary()}")
    if as_json:
        print_json(verdict.as_dict())
    return 0 if verdict.passed else 1
