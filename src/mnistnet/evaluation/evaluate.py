"""`mnistnet eval BUNDLE|RUN`: evaluate a model on a data set, or on people's own pictures.

    done = evaluate(Path("my-bundle"), against=Path("runs/fast-1"))
    done.report.accuracy.value, done.page

What follows from the predictions is the same report as a run and a bundle have; what is added here
differs from one machine to the next or takes a minute: robustness, pictures of no digit, speed.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet import data as datasets
from mnistnet.errors import DataError
from mnistnet.evaluation.measures import (
    Progress,
    measure_both_paths,
    measure_not_digits,
    measure_speed,
)
from mnistnet.evaluation.subject import open_subject
from mnistnet.files import replace_folder, write_bytes
from mnistnet.inference.folders import is_labelled, predict_labelled
from mnistnet.report.build import (
    Predictions,
    build,
    with_comparison,
    with_not_digits,
    with_robustness,
)
from mnistnet.report.contents import as_document, to_json
from mnistnet.report.page import render_page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.data import DataSet
    from mnistnet.evaluation.subject import Subject
    from mnistnet.report.contents import Report

    OnProgress = Callable[[Progress], None]
    Evaluated = tuple[Predictions, list[NDArray[np.float32]]]  # and those of other models

REPORT, PAGE = "report.json", "report.html"


@dataclass(frozen=True)
class Evaluation:
    """A report, and the folder that it was written to."""

    report: Report
    folder: Path

    @property
    def page(self) -> Path:
        """The report for people."""
        return self.folder / PAGE

    def as_dict(self) -> dict[str, Any]:
        """Return the main figures, and where the rest is, as JSON can hold them."""
        report, document = self.report, as_document(self.report)
        figures: dict[str, Any] = {
            "report": str(self.folder / REPORT),
            "page": str(self.page),
            "model": report.model.name,
            "dataset": report.dataset.name,
        }
        parts = ("accuracy", "negative_log_likelihood", "brier_score", "not_digits")
        figures |= {part: document[part] for part in parts if document[part] != []}
        figures["calibration_error"] = document["expected_calibration_error"]
        for path, measured in document["robustness"].items():
            figures[f"{path}_mean_error"] = measured["mean_error"]
        if report.against:
            keys = ("verdict", "p", "difference", "low", "high", "n_gained", "n_lost")
            figures["against"] = {"name": report.against.model.name}
            figures["against"] |= {key: document["against"][key] for key in keys}
        return figures


def evaluate(
    folder: Path,
    *,
    data: Path | None = None,
    against: Path | None = None,
    out: Path | None = None,
    quick: bool = False,
    on_progress: OnProgress = lambda _: None,
) -> Evaluation:
    """Evaluate a bundle or a run, and write `report.json` and `report.html`: both, or neither.

    Args:
        folder: the bundle or run.
        data: a data set, or a folder of labelled pictures in sub-folders 0 to 9; None searches
            the usual places for a data set.
        against: another bundle or run, to compare with on the same images.
        out: the report's folder; an older report there is replaced. None: below `reports/`.
        quick: leave out robustness, speed and pictures of no digit, the slow parts.
        on_progress: called with what is being done, and how far it is.

    Raises:
        MnistNetError: the model or the data cannot be used, or the folder cannot be written.
    """
    with ExitStack() as stack:
        on_progress(Progress(f"verifying {folder}", 0, 1))
        subjects = [stack.enter_context(open_subject(path)) for path in (folder, against) if path]
        target = out or default_folder(folder, against)
        # Now, as it may not be writable.
        scratch = stack.enter_context(replace_folder(target, {REPORT, PAGE}))
        if data is not None and is_labelled(data):
            predictions, others = _on_pictures(data, subjects, on_progress)
        else:
            predictions, others = _on_images(_load(data), subjects, on_progress)
        report = build(predictions, subjects[0].model, threshold=subjects[0].threshold)
        for other, probabilities in zip(subjects[1:], others, strict=True):
            report = with_comparison(report, predictions, other.model, probabilities)
        if not quick:
            report = _measured(report, predictions, subjects[0], on_progress)
        write_bytes(scratch / REPORT, to_json(report))
        write_bytes(scratch / PAGE, render_page(report).encode())
    return Evaluation(report, target)


def default_folder(folder: Path, against: Path | None = None) -> Path:
    """Return the folder that a report goes to where none is named."""
    names = [path.resolve().name for path in (folder, against) if path is not None]
    return Path("reports") / "-against-".join(names)


def _load(data: Path | None) -> DataSet:
    if data is not None and data.is_dir() and not datasets.sets.find_files(data):
        raise DataError(
            f"{data}: is neither a data set (IDX files) nor a folder of labelled pictures (folders"
            " named 0 to 9)"
        )
    return datasets.load(data)


def _on_images(dataset: DataSet, subjects: Sequence[Subject], on_progress: OnProgress) -> Evaluated:
    """Predict the test images of a data set, which are as the network takes them."""
    images = dataset.test.images
    on_progress(Progress(f"predicting {len(images):,} images", 0, 1))
    probabilities, *others = [subject.classify(images) for subject in subjects]
    name = Path(dataset.source).resolve().stem
    return Predictions.on(dataset, probabilities, name=name), others


def _on_pictures(folder: Path, subjects: Sequence[Subject], on_progress: OnProgress) -> Evaluated:
    """Predict people's own pictures, which are as cameras and programs make them."""
    return predict_labelled(
        folder,
        [subject.predictor() for subject in subjects],
        lambda done, n: on_progress(Progress(f"predicting {n:,} pictures", done, n)),
    )


def _measured(
    report: Report, predictions: Predictions, subject: Subject, on_progress: OnProgress
) -> Report:
    """Add the slow parts; robustness and speed not on people's own pictures."""
    if predictions.file_names is None:
        images, labels = predictions.images, predictions.labels
        robustness = measure_both_paths(subject, images, labels, on_progress)
        report = with_robustness(report, predictions, robustness)
        report = replace(report, speed=measure_speed(subject, images, on_progress))
    return with_not_digits(report, predictions, measure_not_digits(subject, on_progress))
