"""What a report holds, field by field, and its one form as JSON.

    content = to_json(report)                     # bytes, of report.json
    report = from_json(content, "report.json")    # DataError where it is damaged or foreign

What a figure is called in JSON is the name of its field. A part that was not measured is not in
the file, floats have six significant digits (the last bits of an arithmetic unit do not show), and
pixels are in base64. Shares are of 1, not per cent; `low` and `high` are a 95% interval's ends.
"""

import base64
import json
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from inspect import Parameter, signature
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mnistnet.errors import DataError
from mnistnet.files import json_bytes
from mnistnet.metrics.robustness import Robustness
from mnistnet.metrics.scores import ClassScores, SelectivePoint
from mnistnet.metrics.timing import Spread
from mnistnet.provenance import Origin

FORMAT = 2
EMPTY: tuple[object, ...] = (None, (), {})  # parts that were not measured
SIDE = 28  # pixels, of every image in a report
HUGE = 1e100  # no figure of a report is larger, in JSON it may be


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
class CalibrationBin:
    """The n images whose confidence lies in (low, high]; the means are None where n is 0."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


@dataclass(frozen=True)
class Calibration:
    """How far confidence is from accuracy."""

    expected_calibration_error: float
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class SelectiveAccuracy:
    """The accuracy on the most confident images; the curve's points are (coverage, accuracy)."""

    points: tuple[SelectivePoint, ...]
    curve: tuple[tuple[float, float], ...]
    at_threshold: SelectivePoint | None = None


@dataclass(frozen=True)
class Sample:
    """An image that a report shows; its prediction is None where the model found no ink."""

    index: int
    label: int
    prediction: int | None
    confidence: float
    label_probability: float
    is_label_error: bool
    pixels: bytes  # uint8, 28 rows of 28
    file: str | None = None
    other_prediction: int | None = None  # the other model's, where two are compared


@dataclass(frozen=True)
class LabelErrors:
    """How many known label errors are among the images, and how many among the mistakes."""

    known: int
    among_mistakes: int


@dataclass(frozen=True)
class Unread:
    """What got no prediction: where no ink was found, it is a mistake, else in no figure."""

    no_ink: dict[str, int]  # name → label
    undecoded: dict[str, str]  # name → why


@dataclass(frozen=True)
class NotDigits:
    """How well confidence tells n pictures of one kind from digits; how many are "not sure"."""

    kind: str
    n: int
    auroc: float
    refused: int | None = None


@dataclass(frozen=True)
class CorruptedDigits:
    """A few digits next to each other, for each corruption, and `clean`."""

    labels: tuple[int, ...]
    pixels: dict[str, bytes]  # uint8, 28 rows


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
    """The evaluation of a model; parts that were not measured are None or empty."""

    format: int = field(default=FORMAT, kw_only=True)
    dataset: Dataset
    model: Model
    accuracy: Accuracy
    negative_log_likelihood: float
    brier_score: float
    classes: tuple[ClassScores, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]  # a row for each label
    calibration: Calibration
    selective: SelectiveAccuracy
    mistakes: tuple[Sample, ...]  # the worst first
    label_errors: LabelErrors | None = None
    unread: Unread | None = None
    against: Comparison | None = None
    not_digits: tuple[NotDigits, ...] = ()
    robustness: dict[str, Robustness] = field(default_factory=dict)  # network, picture
    corrupted: CorruptedDigits | None = None
    speed: Speed | None = None
    curves: tuple[CurvePoint, ...] = ()


def to_json(report: Report) -> bytes:
    """Return the content of report.json."""
    return json_bytes(as_document(report))


def as_document(report: Report) -> dict[str, Any]:
    """Return what report.json holds, as dictionaries, lists, numbers and text."""
    document: dict[str, Any] = _plain(report)
    return document


def from_json(content: bytes, where: object) -> Report:
    """Read a report back; `where` it lies is for the message.

    Raises:
        DataError: it is no report, a damaged one, or one of another format.
    """
    try:
        document = json.loads(content, parse_constant=int)  # which refuses NaN and Infinity
        found = document.get("format") if isinstance(document, dict) else None
        if found == FORMAT:
            report: Report = _typed(document, Report, "report")
            return report
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is a damaged report ({error}); evaluate again") from None
    raise DataError(f"{where}: is no report of format {FORMAT}; evaluate again with this version")


def _plain(value: Any) -> Any:
    """Return what JSON holds; optional fields that are None or empty are left out."""
    kind: Any = type(value)
    if names := _fields(kind):
        found = {name: getattr(value, name) for name in names}
        return {
            k: _plain(v) for k, v in found.items() if k not in _optional(kind) or v not in EMPTY
        }
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # a file's name may hold half a character
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _typed(value: Any, kind: Any, name: str) -> Any:
    """Return what JSON holds as a value of a type; a ValueError names the field that is wrong."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return _typed(value, next((a for a in arguments if type(value) is a), arguments[0]), name)
    if origin is dict and type(value) is dict:
        return {key: _typed(item, arguments[1], f"{name}.{key}") for key, item in value.items()}
    if origin is tuple and type(value) is list:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_typed(v, k, f"{name}[]") for v, k in zip(value, kinds, strict=True))
    if (names := _fields(kind)) and type(value) is dict:
        if unfit := (set(names) - _optional(kind) - set(value)) | (set(value) - set(names)):
            raise ValueError(f"{name}.{min(unfit)}")
        return kind(
            **{key: _typed(item, names[key], f"{name}.{key}") for key, item in value.items()}
        )
    if kind is bytes and type(value) is str:
        value = base64.b64decode(value, validate=True)
        fits = len(value) > 0 and len(value) % SIDE**2 == 0
    elif origin is Literal:
        fits = value in arguments
    elif kind is float:
        fits = type(value) in (int, float) and abs(value) < HUGE
    else:
        fits = kind is Any or type(value) is kind
    if not fits:
        raise ValueError(f"{name} is not of its type")
    return value


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's or named tuple's fields, by name; nothing of others."""
    return get_type_hints(kind) if is_dataclass(kind) or hasattr(kind, "_fields") else {}


@cache
def _optional(kind: Any) -> set[str]:
    parameters = signature(kind).parameters.values()
    return {p.name for p in parameters if p.default is not Parameter.empty}
