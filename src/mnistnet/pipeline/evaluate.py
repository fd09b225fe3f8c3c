"""`mnistnet eval BUNDLE|RUN`: judge a model, on a data set or on people's own pictures.

    done = evaluate(Path("my-bundle"), against=Path("runs/fast-1"))
    done.report["accuracy"], done.page

`report_on` is the report on a data set's images, the same here and in a bundle; what is added
here is what would differ from one machine to the next or take a minute: timings, robustness.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnistnet import data as datasets
from mnistnet.data.mnist import MNIST
from mnistnet.errors import DataError, FileError
from mnistnet.evaluation import (
    MNIST_TEST_LABEL_ERRORS,
    Against,
    build_report,
    measure_robustness,
    render_html,
)
from mnistnet.files import replacing, unwritable, write_bytes, write_json
from mnistnet.inference.labelled import as_row, find_labelled, is_labelled, read_labelled
from mnistnet.pipeline.judged import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.data import DataSet
    from mnistnet.pipeline.judged import Judged

REPORT, PAGE = "report.json", "report.html"
ROBUSTNESS_IMAGES = 2000  # spread over the whole test set, whose halves are of different writers
ROBUSTNESS_PASSES = 16  # the fifteen corruptions, and the images as they are
ROUNDS = 20  # of timing many images
PICTURES_TIMED = 100


class Progress(NamedTuple):
    """How far a part of the work is."""

    what: str
    done: int
    total: int


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
        quick: leave out robustness and timings, the slow parts.
        on_progress: is told what is being done, and how far it is.

    Raises:
        MnistNetError: the model or the data cannot be used, or the folder cannot be written.
    """
    with ExitStack() as stack:
        on_progress(Progress(f"verifying {folder}", 0, 1))
        model = stack.enter_context(opened(folder))
        other = stack.enter_context(opened(against)) if against else None
        target = out or default_folder(folder, against)
        _check_replaceable(target)
        scratch = stack.enter_context(replacing(target.resolve()))  # it may not be writable
        if data is not None and is_labelled(data):
            report = _judge_pictures(model, other, data, on_progress)
        else:
            report = _judge_images(model, other, _load(data), on_progress, quick=quick)
        page = render_html(report)
        write_json(scratch / REPORT, report)
        write_bytes(scratch / PAGE, page.encode())
    return Evaluation(report, target)


def report_on(
    dataset: DataSet,
    probabilities: NDArray[np.float32],
    *,
    model: dict[str, Any],
    judged_on: str = "test",
    name: str = "the data set",
    **parts: Any,
) -> dict[str, Any]:
    """Report on a data set's test images.

    Args:
        dataset: its `test` part is judged on.
        probabilities: (N, 10), the model's answers to it.
        model: what the report says of the model, see `build_report`.
        judged_on: `test`, or `validation` where held-out images are in the test set's place.
        name: of the data set where it is not known to be MNIST; in a bundle, whose bytes do not
            depend on where its data lay, it has none.
        parts: what else `build_report` takes.
    """
    is_mnists = _is_mnists_test_set(dataset)
    return build_report(
        dataset.test.labels,
        probabilities,
        dataset.test.images,
        dataset={
            "name": f"{'MNIST' if is_mnists else name}’s {judged_on} images",
            "sha256": dataset.sha256,
        },
        model=model,
        label_errors=MNIST_TEST_LABEL_ERRORS if is_mnists else (),
        **parts,
    )


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
        n = min(ROBUSTNESS_IMAGES, len(images))
        subset = np.arange(n) * len(images) // n
        parts["robustness"] = _robustness(model, images[subset], labels[subset], on_progress)
        parts["speed"] = _speed(model, images[subset], on_progress)
    about = {"name": model.name, **model.about}
    name = Path(dataset.source).resolve().stem
    return report_on(dataset, model.classify(images), model=about, name=name, **parts)


def _judge_pictures(
    model: Judged, other: Judged | None, folder: Path, on_progress: Callable[[Progress], None]
) -> dict[str, Any]:
    """Judge on people's own pictures, which are as cameras and programs make them."""
    pictures = find_labelled(folder)
    n = len(pictures.names)
    answers = read_labelled(
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
        undecoded=answers.unread,
        threshold=model.threshold,
        against=against,
    )


def _robustness(
    model: Judged,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    on_progress: Callable[[Progress], None],
) -> dict[str, dict[str, Any]]:
    """Spoil images in every way, and have the network and the picture graph read them."""
    predictor = model.predictor()
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def through_graph(spoilt: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.stack([as_row(answer) for answer in pool.map(predictor.predict, spoilt)])

        return {
            "network": _measured("network", model.classify, images, labels, on_progress),
            "picture": _measured("picture graph", through_graph, images, labels, on_progress),
        }


def _measured(
    path: str,
    answer: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    on_progress: Callable[[Progress], None],
) -> dict[str, Any]:
    done, total = 0, ROBUSTNESS_PASSES * len(images)

    def counting(spoilt: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal done
        rows = answer(spoilt)
        done += len(spoilt)
        on_progress(Progress(f"robustness of the {path}", done, total))
        return rows

    return measure_robustness(counting, images, labels)


def _speed(
    model: Judged, images: NDArray[np.uint8], on_progress: Callable[[Progress], None]
) -> dict[str, Any]:
    """Time many images at once, and pictures of 280×280 pixels one by one."""
    on_progress(Progress("timing", 0, 1))
    predict = model.predictor().predict
    pictures = [np.kron(image, np.ones((10, 10), np.uint8)) for image in images[:PICTURES_TIMED]]
    model.classify(images), predict(pictures[0])  # what the first call sets up is not timed
    rounds_s = [_time_s(model.classify, images) for _ in range(ROUNDS)]
    pictures_s = [_time_s(predict, picture) for picture in pictures]
    return {
        "images_per_s": _spread([len(images) / seconds for seconds in rounds_s]),
        "ms_per_picture": _spread([1000 * seconds for seconds in pictures_s]),
        "runtime": model.runtime,
    }


def _time_s(answer: Callable[[Any], object], question: Any) -> float:
    started = time.perf_counter()
    answer(question)
    return time.perf_counter() - started


def _spread(values: list[float]) -> dict[str, float]:
    low, median, high = (float(q) for q in np.percentile(values, (25, 50, 75)))
    return {"median": median, "low": low, "high": high, "n": len(values)}


def _is_mnists_test_set(dataset: DataSet) -> bool:
    known = {file.name: file.sha256 for file in MNIST if file.name.startswith("t10k")}
    return all(dataset.sha256[name] == digest for name, digest in known.items())


def _check_replaceable(folder: Path) -> None:
    """Refuse to touch what is not a report. Raises FileError."""
    try:
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    except OSError as error:  # a file, or not to be read
        raise unwritable(folder, error) from error
    foreign = sorted(names - {REPORT, PAGE})
    if foreign:
        raise FileError(
            f"{folder}: holds {foreign[0]}, so no report is put there; choose another folder"
        )
