"""`mnistnet eval BUNDLE|RUN`: how good is it, and is it better than another?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import DATA_OR_PICTURES, JSON, MARKDOWN, PATH
from mnistnet.cli.progress import Bar
from mnistnet.extras import import_extra
from mnistnet.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.evaluation.evaluate import Evaluation


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
def evaluate(
    model: Path,
    data: Path | None,
    against: Path | None,
    out: Path | None,
    quick: bool,
    markdown: bool,
    as_json: bool,
) -> None:
    """Evaluate a model, and write report.json and report.html.

    On MNIST's test images, if no other data are named. A bundle needs no torch.
    """
    import warnings

    from mnistnet.evaluation import evaluate as pipeline
    from mnistnet.evaluation.subject import is_run
    from mnistnet.report.summary import render_markdown, summarise

    if any(is_run(folder) for folder in (model, against) if folder):
        import_extra("train", "torch", "onnx", "onnxscript", "safetensors")
    warnings.simplefilter("ignore")  # of oddities in a picture's file that do not matter
    with Bar() as bar:
        done = pipeline.evaluate(
            model, data=data, against=against, out=out, quick=quick, on_progress=bar.show_evaluation
        )
    lines = [printable(line) for line in summarise(done.report)]
    click.echo(render_markdown(done.report) if markdown else "\n".join(lines))
    click.echo(f"Report: {done.page}", err=markdown)
    if as_json:
        click.echo(json.dumps(_as_json(done)))


def _as_json(done: Evaluation) -> dict[str, Any]:
    """Return the report's main figures, and where the rest is."""
    from mnistnet.report.contents import as_document

    report, document = done.report, as_document(done.report)
    result: dict[str, Any] = {"report": str(done.folder / "report.json"), "page": str(done.page)}
    result |= {"model": report.model.name, "dataset": report.dataset.name}
    parts = ("accuracy", "negative_log_likelihood", "brier_score", "not_digits")
    result |= {part: document[part] for part in parts if part in document}
    result["calibration_error"] = document["calibration"]["expected_calibration_error"]
    for path, measured in document.get("robustness", {}).items():
        result[f"{path}_mean_error"] = measured["mean_error"]
    if report.against:
        keys = ("verdict", "p", "difference", "low", "high", "n_gained", "n_lost")
        result["against"] = {"name": report.against.model.name}
        result["against"] |= {key: document["against"][key] for key in keys}
    return result
