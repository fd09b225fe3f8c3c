"""The report as Markdown, for a job's summary or a comment.

    print(render_markdown(report, summary))

Where this is shown, pictures cannot be embedded, only linked to. So the worst mistakes are drawn
in characters: two pixels each, one above the other.
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DRAWN = 8  # mistakes
ACROSS = 4  # side by side
BLOCKS = (" ", "▄", "▀", "█")  # neither pixel, the lower, the upper, both
INK = 96  # grey level from which a pixel is drawn


def render_markdown(report: dict[str, Any], summary: Sequence[str]) -> str:
    """Lay out a report for people who read it in a pipeline.

    Args:
        report: `build_report`'s.
        summary: lines to open with.
    """
    name, dataset = report["model"]["name"], report["dataset"]["name"]
    parts = [_plain(f"### How well {name} reads {dataset}")]
    parts += ["\n".join(_plain(f"- {line}") for line in summary)]
    parts += ["Rows: the digit it is. Columns: the digit it was read as.", _confusion(report)]
    if report["mistakes"]:
        parts += ["The worst mistakes:", _mistakes(report)]
    return "\n\n".join(parts)


def _plain(line: str) -> str:
    """Keep names, which come from anywhere, from breaking out of their line, or being HTML."""
    return html.escape(printable(line), quote=False)


def _confusion(report: dict[str, Any]) -> str:
    rows = [["", *map(str, range(10))], ["---:"] * 11]
    for digit, counts in enumerate(report["confusion_matrix"]):
        rows.append([f"**{digit}**", *(f"{count:,}" if count else "·" for count in counts)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _mistakes(report: dict[str, Any]) -> str:
    pictures, shown = report["pictures"]["images"], report["mistakes"][:DRAWN]
    drawings = []
    for entry in shown:
        caption = f"{entry['label']} read as {entry['answer']}, {entry['confidence']:.0%}"
        image = _pixels(pictures[str(entry["index"])])
        drawings.append([f"{caption:28}", *_drawing(image)])
    blocks = [drawings[i : i + ACROSS] for i in range(0, len(drawings), ACROSS)]
    lines = ["   ".join(row).rstrip() for block in blocks for row in zip(*block, strict=True)]
    return "\n".join(("```text", *lines, "```"))


def _drawing(image: NDArray[np.uint8]) -> list[str]:
    """Draw 28×28 grey levels in 14 rows of 28 characters."""
    ink = (image >= INK).astype(int)
    return ["".join(BLOCKS[k] for k in row) for row in (2 * ink[0::2] + ink[1::2]).tolist()]


def _pixels(uri: str) -> NDArray[np.uint8]:
    from PIL import Image

    content = base64.b64decode(uri.split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))
