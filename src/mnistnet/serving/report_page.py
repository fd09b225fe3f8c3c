"""A bundle's report as a page, made of its `report.json`.

html = report_page(bundle)          # what the bundle has as report.html, if it has one
"""

from __future__ import annotations

import types
from base64 import b64decode
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from mnistnet.bundle.manifest import MAX_EXTRA_BYTES, PAGE, read_at_most, read_file, read_manifest
from mnistnet.bundle.strict_json import damaged, parse_json
from mnistnet.metrics.robustness import Robustness
from mnistnet.metrics.scores import ClassScores, ReliabilityBin, SelectivePoint
from mnistnet.metrics.timing import Spread
from mnistnet.provenance import Origin
from mnistnet.report.contents import Report
from mnistnet.report.page import render_page

if TYPE_CHECKING:
    from pathlib import Path

# What the fields of a report are annotated with, and its module imports for type checkers only.
NAMES = {
    kind.__name__: kind
    for kind in (Robustness, ClassScores, ReliabilityBin, SelectivePoint, Spread, Origin)
}


def report_page(bundle: Path) -> bytes:
    """Return a bundle's report as an HTML document, which nobody vouches for.

    Raises:
        BundleError: its report is damaged.
    """
    if (bundle / PAGE).exists():
        return read_at_most(MAX_EXTRA_BYTES, bundle / PAGE)
    return rendered_report(bundle)


def rendered_report(bundle: Path) -> bytes:
    """Return a bundle's report.json as an HTML document without scripts.

    Raises:
        BundleError: the report is damaged.
    """
    where = bundle / "report.json"
    document = parse_json(read_file(bundle, where.name, read_manifest(bundle)), where)
    try:
        report: Report = from_document(Report, document)
        return render_page(report).encode()
    except Exception as error:  # a hostile one makes templates raise anything
        raise damaged(where, f"is no report ({type(error).__name__})") from error


def from_document(kind: Any, value: Any) -> Any:
    """Return what `mnistnet.report.contents.as_document` made JSON of.

    Args:
        kind: its type: a dataclass, a named tuple, `tuple[T, ...]`, `dict[K, T]`, `T | None`, or a
            plain one.
        value: the JSON.
    """
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0] if value is not None else None
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        hints = get_type_hints(kind, localns=NAMES)
        fields = {name: from_document(hints[name], value[name]) for name in hints.keys() & value}
        return kind(**fields)
    if get_origin(kind) is tuple:
        return tuple(from_document(get_args(kind)[0], item) for item in value)
    if get_origin(kind) is dict:
        return {key: from_document(get_args(kind)[1], item) for key, item in value.items()}
    return b64decode(value, validate=True) if kind is bytes else value
