"""`mnistnet eval BUNDLE|RUN`: judge a model, on a data set or on people's own pictures.

    done = evaluate(Path("my-bundle"), against=Path("runs/fast-1"))
    done.report["accuracy"], done.page

`report_on` is the report on a data set's images, the same here and in a bundle; what is added
here is what would differ from one machine to the next or take a minute: timings, robustness,
pictures that show no digit.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
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
from mnistnet.evaluation.subject import opened
from mnistnet.files import replace_folder, write_bytes, write_json
from mnistnet.inference.folders import find_labelled, is_labelled, predict_labelled
from mnistnet.report.build import Against, build_report, report_on
from mnistnet.report.html import render_html

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnistnet.data import DataSet
    from mnistnet.evaluation.subject import Judged

REPORT, PAGE = "report.json", "report.html"


@dataclass(frozen=True)
class Evaluation:
    """A report, and where it was written."""

    report: dict[str, Any]
    folder: Path

    @property
    def page(self) -> Path:
        """The report for people."""
        return self.folder / PAGE


def evaluate(
    folder: Path,
    *,
    data: Path | None = None,
    against: Path | None = None,
    out: Path | None = None,
    quick: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Evaluation:
    """Judge a bundle or a run, and write `report.json` and `report.html`: both, or neither.

    Args:
        folder: the bundle or run.
        data: a data set, or a folder of labelled pictures in sub-folders 0 to 9; None searches
            the usual places for a data set.
        against: another bundle or run, to compare with on the same images.
        out: the report's folder; an older report there is replaced. None: below `reports/`.
        quick: leave out robustness, timings and pictures of no digit, the slow parts.
        on_progress: is told what is being done, and how far it is.

    Raises:
        MnistNetError: the model or the data cannot be used, or the folder cannot be written.
    """
    with ExitStack() as stack:
        on_progress(Progress(f"verifying {folder}", 0, 1))
        model = stack.enter_context(opened(folder))
        other = stack.enter_context(opened(against)) if against else None
        target = out or default_folder(folder, against)
        # Now, as it may not be writable.
        scratch = stack.enter_context(replace_folder(target, {REPORT, PAGE}))
        if data is not None and is_labelled(data):
            report = _judge_pictures(model, other, data, on_progress, quick=quick)
        else:
            report = _judge_images(model, other, _load(data), on_progress, quick=quick)
        page = render_html(report)
        write_json(scratch / REPORT, report)
        write_bytes(scratch / PAGE, page.encode())
    return Evaluation(report, target)


def default_folder(folder: Path, against: Path | None = None) -> Path:
    """Give the folder that a report goes to if nobody says."""
    names = [path.resolve().name for path in (folder, against) if path is not None]
    return Path("reports") / "-against-".join(names)


def _load(data: Path | None) -> DataSet:
    if data is not None and data.is_dir() and not datasets.sets.find_files(data):
        raise DataError(
            f"{data}: is neither a data set (IDX files) nor a folder of labelled pictures (folders"
            " named 0 to 9)"
        )
    return datasets.load(data)


def _judge_images(
    model: Judged,
    other: Judged | None,
    dataset: DataSet,
    on_progress: Callable[[Progress], None],
    *,
    quick: bool,
) -> dict[str, Any]:
    """Judge on the test images of a data set, which are as the network takes them."""
    images, labels = dataset.test.images, dataset.test.labels
    on_progress(Progress(f"reading {len(images):,} images", 0, 1))
    parts: dict[str, Any] = {"threshold": model.threshold}
    if other:
        parts["against"] = Against(other.name, other.classify(images), other.about)
    if not quick:
        paths = measure_both_paths(model, images, labels, on_progress)
        parts["robustness"] = {path: asdict(measured) for path, measured in paths.items()}
        parts["speed"] = measure_speed(model, images, on_progress)
        parts["not_digits"] = measure_not_digits(model, on_progress)
    about = {"name": model.name, **model.about}
    name = Path(dataset.source).resolve().stem
    return report_on(dataset, model.classify(images), model=about, name=name, **parts)


def _judge_pictures(
    model: Judged,
    other: Judged | None,
    folder: Path,
    on_progress: Callable[[Progress], None],
    *,
    quick: bool,
) -> dict[str, Any]:
    """Judge on people's own pictures, which are as cameras and programs make them."""
    pictures = find_labelled(folder)
    n = len(pictures.names)
    answers = predict_labelled(
        pictures,
        [judged.predictor() for judged in (model, other) if judged],
        on_progress=lambda done: on_progress(Progress(f"reading {n:,} pictures", done, n)),
    )
    against = Against(other.name, answers.probabilities[1], other.about) if other else None
    name = folder.resolve().name
    return build_report(
        answers.labels,
        answers.probabilities[0],
        answers.seen,
        dataset={"name": f"the pictures in {name}", "pictures": n, "sha256": answers.sha256},
        model={"name": model.name, **model.about},
        file_names=answers.names,
        undecoded=answers.left_out,
        threshold=model.threshold,
        not_digits=None if quick else measure_not_digits(model, on_progress),
        against=against,
    )
