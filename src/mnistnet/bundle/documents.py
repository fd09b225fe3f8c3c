"""`README.md` and `report.json`: what a bundle says of its network to people.

    metrics = metrics_of(as_document(report), where, "test")      # the manifest's, of the report
    content = card(manifest)                                      # of README.md
    check_documents(directory, manifest)                          # a step of `verify`

The figures are in three files. The manifest's follow from the report's, and the card from the
manifest, so that none of them can be changed alone.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from mnistnet.bundle.manifest import Manifest, Metrics, read_file
from mnistnet.bundle.strict_json import damaged, decode, parse_json
from mnistnet.data.sets import MNIST_SHA256
from mnistnet.model.architecture import parameter_count
from mnistnet.provenance import parts
from mnistnet.report.contents import Accuracy, Report
from mnistnet.text import escape_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.provenance import Origin, Step

REPORT_FORMAT = 2
REPORT_FIELDS = {f.name for f in fields(Report) if f.default is f.default_factory is MISSING}


def metrics_of(report: Any, where: object, split: str) -> Metrics:
    """Return a manifest's metrics, which follow from the report.

    Args:
        report: the content of a report.json.
        where: its path, for the messages.
        split: what the report is of, test or validation.

    Raises:
        BundleError: it has not the fields of a report, or a figure is none.
    """
    accuracy = decode(Accuracy, report, where, "accuracy")
    if missing := sorted(REPORT_FIELDS - report.keys()):
        raise damaged(where, f"has no {missing[0]!r}")
    return Metrics(
        judged_on=split,
        n=accuracy.n,
        correct=accuracy.correct,
        accuracy=accuracy.value,
        accuracy_low=round(accuracy.low, 6),
        accuracy_high=round(accuracy.high, 6),
        negative_log_likelihood=round(decode(float, report, where, "negative_log_likelihood"), 4),
        calibration_error=round(decode(float, report, where, "expected_calibration_error"), 4),
    )


def check_documents(directory: Path, manifest: Manifest) -> None:
    """Check that card and report are of the format, and have the manifest's figures.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    where = directory / "README.md"
    text = read_file(directory, where.name, manifest).decode(errors="replace")
    if not text.replace("\n", "").isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        raise damaged(where, "is no printable UTF-8")
    if accuracy_line(manifest) not in text.splitlines():
        raise damaged(where, "has not the line of the manifest's accuracy")
    where = directory / "report.json"
    report = parse_json(read_file(directory, where.name, manifest), where)
    if decode(int, report, where, "format") != REPORT_FORMAT:
        raise damaged(where, f"is not of format {REPORT_FORMAT}")
    claimed = manifest.metrics
    if claimed and metrics_of(report, where, claimed.judged_on) != claimed:
        raise damaged(where, "has other figures than the manifest")


def accuracy_line(manifest: Manifest) -> str:
    """Return the line of the model card that has the manifest's figures."""
    metrics = manifest.metrics
    if metrics is None:
        return "- **Accuracy**: not measured."
    name = "MNIST" if manifest.origin.data == MNIST_SHA256 else "the data set"
    ends = f"{metrics.accuracy_low * 100:.2f}–{metrics.accuracy_high * 100:.2f}"
    return (
        f"- **Accuracy** on {name}'s {metrics.judged_on} images: {metrics.accuracy:.2%} of"
        f" {metrics.n:,} (95 % interval {ends}). Expected calibration error:"
        f" {metrics.calibration_error}."
    )


def card(manifest: Manifest) -> bytes:
    """Return the model card: what it is, how good, for what, and where it came from."""
    origin = manifest.origin
    name = str(origin.recipe.get("name")).replace("`", "'")
    source = ", then ".join(dict.fromkeys(map(_commit, parts(origin))))  # of a resumed run
    if manifest.export and (exported := _commit(manifest.export)) != source:
        source += f", exported by commit {exported}"
    trained_on = "the data set whose SHA-256 are in `manifest.json`"
    if origin.data == MNIST_SHA256:
        held_out = [origin.recipe.get(split) for split in ("validation", "calibration")]
        n = 60_000 - sum(count for count in held_out if isinstance(count, int))
        trained_on = f"MNIST's {n:,} training images (Yann LeCun, Corinna Cortes; CC BY-SA 3.0)"
    drawn = [kind for kind in ("handwriting", "outliers") if origin.recipe.get(kind)]
    others = f"drawn {' and '.join(drawn)}" if drawn else "nothing else"
    text = f"""# MnistNet, recipe `{name}`

A convolutional network of {parameter_count():,} parameters that reads one handwritten digit from \
a picture.

{accuracy_line(manifest)}
- **For**: single digits 0–9, ink dark on light or light on dark, photographed, scanned or drawn.
- **Not for**: several digits at once, letters (it may take them for digits), or decisions about
  people without a person's check.
- **Not sure**: below a confidence of {manifest.threshold:.0%} an answer should be checked by a \
person.
- **Trained on**: {trained_on}, {others}.
- **Source**: commit {source}; the recipe, data hashes, versions and processor are in \
`manifest.json`.

How to use it: `docs/BUNDLE.md` of the project, or `pip install mnistnet`.
"""
    return text.encode()


def _commit(record: Origin | Step) -> str:
    """Return the commit of a record, which may hold any text there, and whether it was changed."""
    commit = escape_markdown(str(record.source.get("commit")))
    return f"{commit}{' (changed since)' if record.source.get('dirty') else ''}"
