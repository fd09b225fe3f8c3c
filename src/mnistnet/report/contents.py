"""What a report holds, field by field, and its form as JSON.

    content = to_json(report)                     # bytes, of report.json

What a figure is called in JSON is the name of its field; a part that was not measured is null or
empty. Shares are of 1, not per cent; `low` and `high` are a 95% interval's ends.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from mnistnet.files import json_bytes

if TYPE_CHECKING:
    from mnistnet.metrics.robustness import Robustness
    from mnistnet.metrics.scores import ClassScores, ReliabilityBin, SelectivePoint
    from mnistnet.metrics.timing import Spread
    from mnistnet.provenance import Origin

SIDE = 28  # pixels, of every image in a report


@dataclass(frozen=True)
class Dataset:
    """What a model was evaluated on: its name, and the SHA-256 of each of its files."""

    name: str
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """What was evaluated; `size_bytes` and `sha256` are of each of its files."""

    name: str
    kind: str | None = None  # bundle or run
    parameters: int | None = None
    size_bytes: dict[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True)
class Accuracy:
    """The share of n images that are classified correctly."""

    n: int
    correct: int
    wrong: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """An image that a report shows; its prediction is None where the model found no ink."""

    index: int
    name: str  # of its file, or "image" and its index
    label: int
    prediction: int | None
    confidence: float
    label_probability: float
    is_label_error: bool
    pixels: bytes  # uint8, 28 rows of 28
    other_prediction: int | None = None  # the other model's, where two are compared
    hypothesis: str | None = None  # what a person's own picture was taken to show,
    original: bytes | None = None  # and the picture, small, as PNG


@dataclass(frozen=True)
class LabelErrors:
    """How many known label errors are among the images, and how many among the mistakes."""

    known: int
    among_mistakes: int


@dataclass(frozen=True)
class NotDigits:
    """How well confidence tells n pictures of one kind from digits; how many are "not sure"."""

    kind: str
    n: int
    auroc: float
    refused: int | None  # None where the model has no threshold


@dataclass(frozen=True)
class Comparison:
    """This model against another on the same images; a gain is an image only this one has right.

    The difference is this model's accuracy minus the other's; p is of the exact McNemar test.
    """

    model: Model
    accuracy: Accuracy
    verdict: Literal["better", "worse", "cannot tell"]
    p: float
    difference: float
    low: float
    high: float
    n_gained: int
    n_lost: int
    gained: tuple[Sample, ...]
    lost: tuple[Sample, ...]


@dataclass(frozen=True)
class Speed:
    """How fast this machine is: many 28×28 images at once, and pictures of 280×280 one by one."""

    images_per_s: Spread
    ms_per_picture: Spread
    runtime: str


@dataclass(frozen=True)
class CurvePoint:
    """Running means of loss and accuracy after so many training images of one network."""

    network: int
    images: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Report:
    """The evaluation of a model."""

    format: int = field(default=2, kw_only=True)
    dataset: Dataset
    model: Model
    accuracy: Accuracy
    negative_log_likelihood: float
    brier_score: float
    classes: tuple[ClassScores, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]  # a row for each label
    expected_calibration_error: float
    reliability: tuple[ReliabilityBin, ...]
    selective: tuple[SelectivePoint, ...]  # accuracy on the most confident images
    coverage_curve: tuple[tuple[float, float], ...]  # (coverage, accuracy)
    at_threshold: SelectivePoint | None  # accuracy at the model's own threshold
    mistakes: tuple[Sample, ...]  # the worst first
    label_errors: LabelErrors | None
    no_ink: dict[str, int]  # images without a prediction, which are mistakes: name → label
    undecoded: dict[str, str]  # files that are no images, in no figure: name → why
    against: Comparison | None = None
    not_digits: tuple[NotDigits, ...] = ()
    robustness: dict[str, Robustness] = field(default_factory=dict)  # network, picture
    corrupted: dict[str, bytes] = field(default_factory=dict)  # a few digits in a row, as pixels
    speed: Speed | None = None
    curves: tuple[CurvePoint, ...] = ()


def to_json(report: Report) -> bytes:
    """Return the content of report.json."""
    return json_bytes(as_document(report))


def as_document(value: Any) -> Any:
    """Return a report, or a part of one, as dictionaries, lists, numbers and text.

    Floats get six significant digits, so that the last bits of an arithmetic unit do not show.
    """
    if is_dataclass(value):
        value = vars(value)
    elif hasattr(value, "_asdict"):  # a named tuple
        value = value._asdict()
    if isinstance(value, dict):
        return {as_document(key): as_document(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_document(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # a file's name may hold half a character
    return float(f"{value:.6g}") if isinstance(value, float) else value
