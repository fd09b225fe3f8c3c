"""The report in a few lines, for a terminal; and as Markdown, for a job's summary or a comment.

    print(*summarise(report), sep="; ")
    print(render_markdown(report))

Markdown can only link to pictures, not hold them, so the worst mistakes are drawn in characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnistnet.report.contents import SIDE
from mnistnet.text import (
    count,
    escape_markdown,
    interval,
    markdown_table,
    p_value,
    percent,
    points,
    points_interval,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnistnet.metrics.timing import Spread
    from mnistnet.report.contents import Comparison, Report, Sample

DRAWN, ACROSS = 8, 4  # mistakes; next to each other
INK = 96  # grey level from which a pixel is drawn in characters
BLOCKS = (" ", "▄", "▀", "█")  # neither pixel, the lower, the upper, both
PATHS = {"network": "28×28 network", "picture": "picture graph"}
VERDICTS = {
    "better": "Better than",
    "worse": "Worse than",
    "cannot tell": "Cannot tell whether it is better or worse than",
}


def verdict(comparison: Comparison) -> str:
    """Return the comparison with another model in a few words."""
    return f"{VERDICTS[comparison.verdict]} {comparison.model.name} ({p_value(comparison.p)})"


def unread(report: Report) -> str:
    """Return how many images and files got no prediction, and what that means for the figures."""
    return (
        f"No prediction: {count(len(report.no_ink))} without ink (wrong), "
        f"{count(len(report.undecoded))} not read (not counted)"
    )


def spread(timed: Spread) -> str:
    """Return what was timed several times: median, quartiles, and n."""
    low, median, high = (
        count(t) if t >= 100 else f"{t:.3g}" for t in (timed.low, timed.median, timed.high)
    )
    return f"{median} (quartiles {low}–{high}, n = {timed.n:,})"


def summarise(report: Report) -> Iterator[str]:
    """Yield the report's main figures, a line each; names in them may be hostile."""
    a, error = report.accuracy, report.expected_calibration_error
    yield f"Accuracy: {percent(a.value)} ({interval(a.low, a.high)}, n = {count(a.n)})"
    yield (
        f"Calibration error: {error:.4f} (ECE, 15 bins); negative log-likelihood "
        f"{report.negative_log_likelihood:.4f}"
    )
    if report.no_ink or report.undecoded:
        yield unread(report)
    for path, r in report.robustness.items():
        yield (
            f"Robustness of the {PATHS[path]}: mean error {percent(r.mean_error)} over "
            f"{len(r.corruptions)} corruptions ({percent(r.clean_error)} clean, n = {count(r.n)} "
            "each)"
        )
    if report.not_digits:
        yield _not_digits(report)
    if report.speed:
        images, picture = spread(report.speed.images_per_s), spread(report.speed.ms_per_picture)
        yield f"Speed: images a second {images}; ms a picture {picture}"
    if c := report.against:
        ends = points_interval(c.low, c.high)
        yield (
            f"Verdict: {verdict(c)}: {points(c.difference)} points ({ends}); alone right on "
            f"{count(c.n_gained)}, the other on {count(c.n_lost)}"
        )


def _not_digits(report: Report) -> str:
    kinds = report.not_digits
    n, refused = sum(kind.n for kind in kinds), sum(kind.refused or 0 for kind in kinds)
    each = ", ".join(f"{kind.kind} {kind.auroc:.2f}" for kind in kinds)
    unsure = f'; {refused / n:.0%} answered "not sure"' if report.at_threshold else ""
    return f"Pictures of no digit, told apart by confidence: AUROC {each}{unsure} (n = {count(n)})"


def render_markdown(report: Report) -> str:
    """Return the report as Markdown: its main figures, confusion matrix and worst mistakes."""
    title = f"Evaluation of {report.model.name} on {report.dataset.name}"
    counts = [
        [str(label), *(count(n) if n else "·" for n in row)]
        for label, row in enumerate(report.confusion_matrix)
    ]
    parts = [
        f"### {_escaped(title)}",
        "\n".join(f"- {_escaped(line)}" for line in summarise(report)),
        "Rows: the digit it is. Columns: the digit it was classified as.",
        "\n".join(markdown_table(["", *map(str, range(10))], counts)),
    ]
    if report.mistakes:
        parts += ["The worst mistakes:", _drawn(report.mistakes[:DRAWN])]
    return "\n\n".join(parts)


def _escaped(line: str) -> str:
    """Keep names, which come from anywhere, from breaking out of their line, or being markup."""
    return escape_markdown(printable(line))


def _drawn(samples: tuple[Sample, ...]) -> str:
    drawings = []
    for s in samples:
        caption = f"{s.label} as {s.prediction}, confidence {s.confidence:.0%}"
        image = np.frombuffer(s.pixels, np.uint8).reshape(SIDE, SIDE)
        drawings.append([f"{caption:{SIDE}}", *in_characters(image)])
    blocks = [drawings[i : i + ACROSS] for i in range(0, len(drawings), ACROSS)]
    lines = ["   ".join(row).rstrip() for block in blocks for row in zip(*block, strict=True)]
    return "\n".join(("```text", *lines, "```"))


def in_characters(image: NDArray[np.uint8]) -> list[str]:
    """Draw an image (H, W) in lines of characters, each of two pixels, one above the other."""
    ink = (image >= INK).astype(int)
    return ["".join(BLOCKS[k] for k in row) for row in (2 * ink[0::2] + ink[1::2]).tolist()]
