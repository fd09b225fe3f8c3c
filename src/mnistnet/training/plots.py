"""Pictures of a run, for people who would rather look than read.

Drawn with matplotlib's own canvas: `pyplot` would start a graphical backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet.files import writing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

INK, ALARM, GUIDE = "#1f4e79", "#b3261e", "#9aa0a6"


def draw_batch(path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Draw the first 32 pictures of a batch, (N, 28, 28), as the network sees them."""
    figure = _figure(8, 4.4, "What the network sees: the first pictures of the first batch")
    captions = [str(label) for label in labels]
    _draw_tiles(figure, images, captions, columns=8, rows=4)
    _save(figure, path)


def draw_mistakes(
    path: Path,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    worst: NDArray[np.int64],
) -> None:
    """Draw the worst mistakes: `worst` are indices into the others, the worst first."""
    figure = _figure(8, 4.4, "The worst mistakes: label → what was predicted, and how surely")
    guesses = probabilities[worst].argmax(1)
    captions = [
        f"{labels[i]} → {guess}  {probabilities[i, guess]:.0%}"
        for i, guess in zip(worst, guesses, strict=True)
    ]
    _draw_tiles(figure, images[worst], captions, columns=8, rows=4)
    _save(figure, path)


def draw_curves(path: Path, metrics: Sequence[dict[str, Any]], result: str) -> None:
    """Draw loss and accuracy over the images seen; `result` is the line below the title."""
    points = [m for m in metrics if "loss" in m]
    images = [m["images"] / 1000 for m in points]
    figure = _figure(8, 3.6, result)
    figure.subplots_adjust(left=0.07, right=0.98, top=0.83, bottom=0.14)
    for place, (key, label, scale) in enumerate(
        [
            ("loss", "training loss (nats, running mean)", 1),
            ("accuracy", "training accuracy (%, running mean)", 100),
        ]
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        axes.plot(images, [m[key] * scale for m in points], color=INK, marker=".")
        axes.set_xlabel("thousand images seen")
        axes.set_title(label, fontsize=10)
        axes.grid(color=GUIDE, alpha=0.3)
    _save(figure, path)


def draw_confusion(path: Path, matrix: NDArray[np.int64]) -> None:
    """Draw a confusion matrix (10, 10): rows are labels, columns predictions."""
    mistakes = matrix.copy()
    for digit in range(10):
        mistakes[digit, digit] = 0  # the diagonal's thousands would drown what is of interest
    figure = _figure(6, 6, "Confusion: rows are labels, columns predictions")
    axes = figure.add_subplot()
    axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=max(1, int(mistakes.max())))
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    for row in range(10):
        for column in range(10):
            if matrix[row, column]:
                dark = mistakes[row, column] > 0.6 * mistakes.max()
                color = "white" if dark and row != column else INK
                axes.text(
                    column,
                    row,
                    str(matrix[row, column]),
                    ha="center",
                    va="center",
                    color=color,
                    fontsize=9,
                )
    _save(figure, path)


def _figure(width_in: float, height_in: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=110)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_tiles(
    figure: Figure, images: NDArray[np.uint8], captions: Sequence[str], *, columns: int, rows: int
) -> None:
    """Lay pictures out on one canvas: 32 axes would take a second to draw, one takes none."""
    import numpy as np

    wide, high, top = 34, 36, 8  # pixels of a tile, and of its caption
    canvas = np.full((rows * high, columns * wide), 255, dtype=np.uint8)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.91))
    places = [
        (row * high + top, column * wide + 3) for row in range(rows) for column in range(columns)
    ]
    for (y, x), image, caption in zip(places, images, captions, strict=False):
        canvas[y : y + 28, x : x + 28] = image
        axes.text(x + 14, y - 2, caption, ha="center", va="bottom", fontsize=8)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()


def _save(figure: Figure, path: Path) -> None:
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
