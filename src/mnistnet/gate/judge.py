"""`mnistnet gate CANDIDATE`: measure a bundle, compare it with the champion, apply the rules.

    verdict = judge(Path("candidate"), Path("champion"), best=Path("best"))
    verdict.passed

Only bundles are read, never the runs that they came from, and torch need not be installed. What
a manifest claims counts for nothing: all bundles are measured again, on the same images.

A new rule is a limit in `rules`, a function in `checks`, and whatever it needs in `Subject`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from mnistnet import data as datasets
from mnistnet.bundle.manifest import read_manifest
from mnistnet.bundle.verify import largest_difference, verify
from mnistnet.bundle.weights import read_weights, reference_probabilities
from mnistnet.errors import BundleError
from mnistnet.evaluation.claims import compare_claims
from mnistnet.evaluation.measures import classify_all, read_pictures
from mnistnet.gate.checks import Evidence, Measured, Parity, apply_rules, refuse
from mnistnet.gate.rules import read_rules
from mnistnet.inference import Predictor
from mnistnet.metrics.pictures import draw_pictures
from mnistnet.metrics.robustness import corrupt_all, measure_robustness
from mnistnet.metrics.scores import expected_calibration_error
from mnistnet.metrics.timing import time_in_turn
from mnistnet.model.architecture import parameter_count

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.data import DataSet
    from mnistnet.evaluation.claims import Claims
    from mnistnet.gate.checks import Verdict
    from mnistnet.metrics.pictures import PictureSuite
    from mnistnet.metrics.robustness import CorruptionSuite
    from mnistnet.metrics.timing import Spread

PARITY_IMAGES = 100  # the reference takes 6 ms for each
BATCH = 128  # images in a round of the timing; as many as the predictor takes at once
ROUNDS = 60
BUDGET_S = 300.0  # for each graph of a bundle; the shipped ones take some seconds


def judge(
    candidate: Path,
    champion: Path | None = None,
    *,
    best: Path | None = None,
    rules: Path | None = None,
    evaluator: Evaluator | None = None,
) -> Verdict:
    """Decide whether a bundle may be published.

    Args:
        candidate: the bundle to decide on.
        champion: the bundle it is to replace; None for a first release.
        best: the bundle with the most correct answers ever published; None where there is none.
        rules: a rules file; None takes gates.toml in the current folder, or else the defaults.
        evaluator: what measures, on which data. Given again, it measures no bundle again.

    Raises:
        FileError: the rules cannot be read.
        DataError: the data set cannot be read.
        BundleError: the candidate is no bundle at all, or another bundle is damaged. A damaged
            candidate is refused.
    """
    limits = read_rules(rules)
    read_manifest(candidate)
    evaluator = evaluator or Evaluator()
    for other in filter(None, (champion, best)):
        evaluator.measure(other)
    try:
        evidence = evaluator.evidence(candidate, champion, best)
    except BundleError as error:
        return refuse(str(error))
    return apply_rules(evidence, limits)


class Evaluator:
    """Measures bundles, all on the test images of one data set, and each of them once.

    A folder that was measured must not change; a publisher that loses a race to another measures
    the new champion only. `data` is the data set; None searches the usual places.
    """

    def __init__(self, data: Path | None = None) -> None:
        self._data = data
        self._subjects: dict[Path, Subject] = {}

    @cached_property
    def inputs(self) -> tuple[DataSet, CorruptionSuite, PictureSuite]:
        """The data set, and what is made of it. Raises DataError: it cannot be read."""
        dataset = datasets.load(self._data)
        images, labels = dataset.test.images, dataset.test.labels
        return dataset, corrupt_all(images, labels), draw_pictures(images, labels)

    def measure(self, bundle: Path) -> Measured:
        """Return a bundle's figures. Raises BundleError."""
        return self._subject(bundle).measured

    def evidence(self, candidate: Path, champion: Path | None, best: Path | None) -> Evidence:
        """Measure a candidate, and whatever it is compared with. Raises BundleError."""
        ours = self._subject(candidate)
        return Evidence(
            ours.measured,
            ours.parity,
            ours.claims,
            self.measure(champion) if champion else None,
            self.measure(best) if best else None,
            *(self._times(ours, self._subject(champion)) if champion else ()),
        )

    def _subject(self, bundle: Path) -> Subject:
        if bundle not in self._subjects:
            verify(bundle)
            self._subjects[bundle] = Subject(Predictor(bundle, budget_s=BUDGET_S), *self.inputs)
        return self._subjects[bundle]

    def _times(self, ours: Subject, theirs: Subject) -> tuple[Spread, Spread]:
        """Time a batch of images, and one picture, of two bundles in turn."""
        a, b, (dataset, _, drawn) = ours.predictor, theirs.predictor, self.inputs
        batch, picture = dataset.test.images[:BATCH], drawn.pictures[0]
        return (
            time_in_turn(partial(a.classify, batch), partial(b.classify, batch), ROUNDS),
            time_in_turn(partial(a.predict, picture), partial(b.predict, picture), ROUNDS),
        )


@dataclass
class Subject:
    """A bundle whose figures are computed when they are first asked for."""

    predictor: Predictor
    dataset: DataSet
    corrupted: CorruptionSuite
    drawn: PictureSuite

    def __post_init__(self) -> None:
        self.classify = partial(classify_all, self.predictor)

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """By digit.onnx, of the test images: (N, 10)."""
        return self.classify(self.dataset.test.images)

    @cached_property
    def measured(self) -> Measured:
        """The figures by which bundles are compared."""
        probabilities, labels = self.probabilities, self.dataset.test.labels
        return Measured(
            correct=probabilities.argmax(1) == labels,
            calibration_error=expected_calibration_error(probabilities, labels),
            robustness=measure_robustness(self.classify, self.corrupted),
            pictures=read_pictures(self.predictor, self.drawn),
            parameters=parameter_count(),
            size_bytes=sum(file.size_bytes for file in self.predictor.manifest.files.values()),
        )

    @cached_property
    def parity(self) -> Parity:
        """How far digit.onnx is from the weights, on images from all over the test set."""
        n = len(self.probabilities)
        some = np.arange(min(n, PARITY_IMAGES)) * n // min(n, PARITY_IMAGES)
        weights = read_weights(self.predictor.bundle, self.predictor.manifest)
        expected = reference_probabilities(weights, self.dataset.test.images[some])
        return Parity(largest_difference(self.probabilities[some], expected), len(some))

    @cached_property
    def claims(self) -> Claims:
        """What the manifest claims, and the same as measured."""
        at, images = self.predictor, self.probabilities
        return compare_claims(at.bundle, at.manifest, self.dataset, images, self.classify)
