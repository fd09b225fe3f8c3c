"""The report in a few lines, for a terminal; and as Markdown, for a job's summary or a comment.

    print(*summarise(report), sep="; ")
    print(render_markdown(report))

Markdown can only link to pictures, not hold them, so the worst mistakes are drawn in characters.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.report.contents import SIDE
from mnistnet.report.pictures import in_characters
from mnistnet.text import p_value, points, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnistnet.report.contents import Comparison, Report, Sample

DRAWN, ACROSS = 8, 4  # mistakes; next to each other
VERDICTS = {
    "better": "Better than",
    "worse": "Worse than",
    "cannot tell": "Cannot tell whether it is better or worse than",
}


def verdict(comparison: Comparison) -> str:
    """Return the comparison with another model in a few words."""
    return f"{VERDICTS[comparison.verdict]} {comparison.model.name} ({p_value(comparison.p)})"


def summarise(report: Report) -> Iterator[str]:
    """Yield the report's main figures, a line each; names in them may be hostile."""
    a, error = report.accuracy, report.calibration.expected_calibration_error
    yield (
        f"Accuracy: {a.value:.2%} (95% interval {100 * a.low:.2f}–{100 * a.high:.2f}, n = {a.n:,})"
    )
    yield (
        f"Calibration error: {error:.4f} (ECE, 15 bins); negative log-likelihood "
        f"{report.negative_log_likelihood:.4f}"
    )
    if report.unread:
        blank, broken = len(report.unread.no_ink), len(report.unread.undecoded)
        yield f"No prediction: {blank} without ink (wrong), {broken} not read (not counted)"
    for path, r in report.robustness.items():
        yield (
            f"Robustness of the {'picture graph' if path == 'picture' else path}: mean error "
            f"{r.mean_error:.2%} over {len(r.corruptions)} corruptions ({r.clean_error:.2%} clean, "
            f"n = {r.n:,} each)"
        )
    if report.not_digits:
        yield _not_digits(report)
    if report.speed:
        images, picture = report.speed.images_per_s, report.speed.ms_per_picture
        yield (
            f"Speed: {images.median:,.0f} images/s (n = {images.n}), "
            f"{picture.median:.2f} ms a picture (n = {picture.n})"
        )
    if c := report.against:
        yield (
            f"Verdict: {verdict(c)}: {points(c.difference)} points (95% interval "
            f"{points(c.low)} to {points(c.high)}); alone right on {c.n_gained}, the other on "
            f"{c.n_lost}"
        )


def _not_digits(report: Report) -> str:
    kinds = report.not_digits
    n, refused = sum(kind.n for kind in kinds), [kind.refused for kind in kinds]
    line = "Pictures of no digit, told apart by confidence: AUROC "
    line += ", ".join(f"{kind.kind} {kind.auroc:.2f}" for kind in kinds)
    if None not in refused:
        line += f'; {sum(k or 0 for k in refused) / n:.0%} answered "not sure"'
    return f"{line} (n = {n:,})"


def render_markdown(report: Report) -> str:
    """Return the report as Markdown: its main figures, confusion matrix and worst mistakes."""
    parts = [
        _escaped(f"### Evaluation of {report.model.name} on {report.dataset.name}"),
        "\n".join(_escaped(f"- {line}") for line in summarise(report)),
        "Rows: the digit it is. Columns: the digit it was classified as.",
        _confusion(report),
    ]
    if report.mistakes:
        parts += ["The worst mistakes:", _mistakes(report.mistakes[:DRAWN])]
    return "\n\n".join(parts)


def _escaped(line: str) -> str:
    """Keep names, which come from anywhere, from breaking out of their line, or being HTML."""
    return html.escape(printable(line), quote=False)


def _confusion(report: Report) -> str:
    rows = [["", *map(str, range(10))], ["---:"] * 11]
    for digit, counts in enumerate(report.confusion_matrix):
        rows.append([f"**{digit}**", *(f"{count:,}" if count else "·" for count in counts)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _mistakes(samples: tuple[Sample, ...]) -> str:
    drawings = []
    for s in samples:
        caption = f"{s.label} as {s.prediction}, confidence {s.confidence:.0%}"
        image = np.frombuffer(s.pixels, np.uint8).reshape(SIDE, SIDE)
        drawings.append([f"{caption:{SIDE}}", *in_characters(image)])
    blocks = [drawings[i : i + ACROSS] for i in range(0, len(drawings), ACROSS)]
    lines = ["   ".join(row).rstrip() for block in blocks for row in zip(*block, strict=True)]
    return "\n".join(("```text", *lines, "```"))
