"""`mnistnet eval BUNDLE|RUN`: how good is it, and is it better than another?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mnistnet.cli.options import DATA_OR_PICTURES, JSON, MARKDOWN, PATH
from mnistnet.cli.progress import Bar
from mnistnet.extras import import_extra

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.evaluation.evaluate import Evaluation

VERDICTS = {
    "better": "better than",
    "worse": "worse than",
    "cannot tell": "cannot tell whether better or worse than",
}


@click.command("eval")
@click.argument("model", type=PATH, metavar="BUNDLE|RUN")
@DATA_OR_PICTURES
@click.option("--against", type=PATH, help="another bundle or run, read on the same images")
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
    """Judge a model, and write report.json and report.html.

    On MNIST's test images, if no other data are named. A bundle needs no torch.
    """
    import warnings

    from mnistnet.evaluation import evaluate as pipeline
    from mnistnet.evaluation.subject import is_run
    from mnistnet.report.markdown import render_markdown

    if any(is_run(folder) for folder in (model, against) if folder):
        import_extra("train", "torch", "onnx", "onnxscript", "safetensors")
    warnings.simplefilter("ignore")  # of oddities in a picture's file that do not matter
    with Bar() as bar:
        done = pipeline.evaluate(
            model, data=data, against=against, out=out, quick=quick, on_progress=bar.show_evaluation
        )
    summary = _summary(done.report)
    click.echo(render_markdown(done.report, summary) if markdown else "\n".join(summary))
    click.echo(f"Report: {done.page}", err=markdown)
    if as_json:
        click.echo(json.dumps(_as_json(done)))


def _summary(report: dict[str, Any]) -> list[str]:
    accuracy, calibration = report["accuracy"], report["calibration"]
    lines = [
        f"Accuracy: {accuracy['value']:.2%} (95% interval {accuracy['low'] * 100:.2f}–"
        f"{accuracy['high'] * 100:.2f}, n = {accuracy['n']:,})",
        f"Calibration error: {calibration['expected_calibration_error']:.4f} (ECE, 15 bins); "
        f"negative log-likelihood {report['negative_log_likelihood']:.4f}",
    ]
    if "unread" in report:
        blank, broken = len(report["unread"]["no_ink"]), len(report["unread"]["undecoded"])
        lines.append(f"No answer: {blank} without ink (wrong), {broken} not read (not counted)")
    for path, measured in report.get("robustness", {}).items():
        what = "picture graph" if path == "picture" else path
        lines.append(
            f"Robustness of the {what}: mean error {measured['mean_error']:.2%} over "
            f"{len(measured['corruptions'])} corruptions ({measured['clean_error']:.2%} clean, "
            f"n = {measured['n']:,} each)"
        )
    if "not_digits" in report:
        lines.append(_not_digits(report["not_digits"]))
    if "speed" in report:
        images, picture = report["speed"]["images_per_s"], report["speed"]["ms_per_picture"]
        lines.append(
            f"Speed: {images['median']:,.0f} images/s (n = {images['n']}), "
            f"{picture['median']:.2f} ms a picture (n = {picture['n']})"
        )
    return lines + _verdict(report)


def _not_digits(rows: list[dict[str, Any]]) -> str:
    scores = ", ".join(f"{row['kind']} {row['auroc']:.2f}" for row in rows)
    line = f"Pictures of no digit, told apart by confidence: AUROC {scores}"
    n = sum(row["n"] for row in rows)
    if all("refused" in row for row in rows):
        line += f'; {sum(row["refused"] for row in rows) / n:.0%} answered "not sure"'
    return f"{line} (n = {n:,})"


def _verdict(report: dict[str, Any]) -> list[str]:
    if "against" not in report:
        return []
    other = report["against"]
    low, difference, high = (100 * other[key] for key in ("low", "difference", "high"))
    return [
        f"Verdict: {VERDICTS[other['verdict']]} {other['name']} (p = {other['p']:.2g}): "
        f"{difference:+.2f} points (95% interval {low:+.2f} to {high:+.2f}); "
        f"alone right on {other['n_gained']}, the other on {other['n_lost']}"
    ]


def _as_json(done: Evaluation) -> dict[str, Any]:
    """Give the report's figures, and where the rest is."""
    report, parts = done.report, ("accuracy", "negative_log_likelihood", "brier_score")
    result: dict[str, Any] = {"report": str(done.folder / "report.json"), "page": str(done.page)}
    result |= {"model": report["model"]["name"], "dataset": report["dataset"]["name"]}
    result |= {part: report[part] for part in parts}
    result["calibration_error"] = report["calibration"]["expected_calibration_error"]
    for path, measured in report.get("robustness", {}).items():
        result[f"{path}_mean_error"] = measured["mean_error"]
    if "not_digits" in report:
        result["not_digits"] = report["not_digits"]
    if "against" in report:
        keys = ("name", "verdict", "p", "difference", "low", "high", "n_gained", "n_lost")
        result["against"] = {key: report["against"][key] for key in keys}
    return result
