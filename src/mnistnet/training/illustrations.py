"""What a run's folder holds for people to look at.

report.html    the evaluation's report, with the training curves
batch.png      the first training images, as the network sees them
mistakes.png   the worst mistakes
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from mnistnet.files import atomic_write, write_bytes
from mnistnet.metrics.scores import worst_mistakes
from mnistnet.report.build import Predictions, build
from mnistnet.report.contents import CurvePoint, Model
from mnistnet.report.page import render_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.data import DataSet
    from mnistnet.provenance import Origin
    from mnistnet.training.runs import Measurement, Run

COLUMNS, ROWS = 8, 4  # of a contact sheet
WIDTH, HEIGHT, SIDE = 106, 112, 84  # pixels: of a place in it, and of the image there


def illustrate(
    run: Run,
    dataset: DataSet,
    probabilities: NDArray[np.float32],
    origin: Origin,
    first_batch: tuple[NDArray[np.uint8], list[str]],
) -> None:
    """Write a run's page and pictures.

    Args:
        run: whose recipe and metrics are written.
        dataset: what it was trained and evaluated on.
        probabilities: (N, 10), its network's for the `test` part.
        origin: of the run.
        first_batch: the images that it was trained on first, and what they show.

    Raises:
        FileError: a file cannot be written.
    """
    recipe, test = run.recipe(), dataset.test
    images, captions = first_batch
    title = "The first images of the first batch, as the network sees them"
    _write_contact_sheet(run.folder / "batch.png", title, images, captions)
    worst = worst_mistakes(probabilities, test.labels, 32)
    captions = [
        f"{test.labels[i]} as {probabilities[i].argmax()}  {probabilities[i].max():.0%}"
        for i in worst
    ]
    title = "The worst mistakes: label, prediction, confidence"
    _write_contact_sheet(run.folder / "mistakes.png", title, test.images[worst], captions)
    predictions = Predictions.on(
        dataset,
        probabilities,
        split=recipe.evaluated_on,
        name=Path(dataset.source).resolve().stem,
    )
    model = Model(f"{run.name} (recipe {recipe.name})", kind="run", origin=origin)
    report = replace(build(predictions, model), curves=_curves(run.metrics()))
    write_bytes(run.folder / "report.html", render_page(report).encode())


def _write_contact_sheet(
    path: Path, title: str, images: NDArray[np.uint8], captions: Sequence[str]
) -> None:
    """Write up to 32 images (N, 28, 28) as one PNG file, each enlarged below its caption."""
    sheet = Image.new("L", (COLUMNS * WIDTH + 24, ROWS * HEIGHT + 44), 255)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)  # comes with Pillow; has no arrows, no dashes but "-"
    draw.text((sheet.width / 2, 20), title, 0, ImageFont.load_default(17), "mm")
    for i, (image, caption) in enumerate(zip(images[: COLUMNS * ROWS], captions, strict=False)):
        x, y = 12 + i % COLUMNS * WIDTH + 11, 42 + i // COLUMNS * HEIGHT + 20
        enlarged = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (x, y))
        draw.text((x + SIDE / 2, y - 10), caption, 0, font, "mm")
    with atomic_write(path) as temporary:
        sheet.save(temporary, "png")


def _curves(lines: list[Measurement]) -> tuple[CurvePoint, ...]:
    """Return the training curve of each network, over its own images.

    Where a network has several epochs, of their ends: its first steps would dwarf the rest.
    """
    if lines and lines[-1].epoch > 2 * lines[-1].network:
        lines = [line for line in lines if line.batch == line.batches]
    points, before = [], 0
    for network, of_one in groupby(lines, lambda line: line.network):
        for line in of_one:
            points.append(CurvePoint(network, line.images - before, line.loss, line.accuracy))
        before = line.images
    return tuple(points)
