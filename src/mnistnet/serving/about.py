"""What the page says of the model that it asks: version, accuracy, hardest digits.

as_document(about(bundle, version="v12"))       # about.json, of the service and the static site
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import PAGE, Metrics, read_file, read_manifest
from mnistnet.bundle.strict_json import damaged, decode, parse_json
from mnistnet.model.architecture import SIDE, parameter_count

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class HardDigit:
    """An image that the network misreads, of those that it was evaluated on."""

    label: int
    is_label_error: bool
    pixels: str  # base64 of uint8, 28 rows of 28, ink bright


@dataclass(frozen=True)
class About:
    """The content of an `about.json`."""

    version: str
    parameters: int
    threshold: float  # the confidence, 0–1, below which an answer is not sure
    metrics: Metrics | None  # None: nothing was measured
    size_bytes: int  # of the graph that reads pictures
    hardest: tuple[HardDigit, ...]  # the worst first
    report: str  # where it is, next to the page
    collects: bool  # whether the service keeps pictures that were misread


def about(bundle: Path, version: str, *, collects: bool = False) -> About:
    """Return what there is to say of a bundle.

    Args:
        bundle: the bundle's folder.
        version: of the model, as people know it.
        collects: whether the service keeps pictures that were misread.

    Raises:
        BundleError: its manifest or report is damaged.
    """
    manifest = read_manifest(bundle)
    where = bundle / "report.json"
    report = parse_json(read_file(bundle, where.name, manifest), where)
    hardest = decode(tuple[HardDigit, ...], report, where, "mistakes")
    for digit in hardest:
        _check(digit, where)
    return About(
        version,
        parameter_count(),
        manifest.threshold,
        manifest.metrics,
        manifest.files["picture.onnx"].size_bytes,
        hardest,
        PAGE,
        collects,
    )


def _check(digit: HardDigit, where: Path) -> None:
    try:
        size = len(b64decode(digit.pixels, validate=True))
    except binascii.Error:
        size = 0
    if size != SIDE**2 or digit.label not in range(10):
        raise damaged(where, "shows a mistake that is no image of a digit")
