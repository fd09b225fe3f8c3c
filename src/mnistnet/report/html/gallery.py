"""The page's pictures, each with what there is to say about it.

>>> mistake(report, report["mistakes"][0])
<Element 'figure' ...>
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mnistnet.report.html.markup import node
from mnistnet.text import interval, percent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

# The only address that a picture may have: it holds the picture itself.
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")


def mistake(
    report: Mapping[str, Any], entry: Mapping[str, Any], other: str | None = None
) -> Element:
    """Show an image with its label and what it was read as, also by the other model if named."""
    label, answer = entry["label"], entry["answer"]
    name = entry.get("file") or f"image {entry['index']}"
    sure = "no ink is seen" if answer is None else f"{percent(entry['confidence'], 1)} sure"
    if other is None:
        heading = f"label {label}, read as {answer}"
        lines = [sure, f"{percent(entry['label_probability'], 1)} for {label}"]
    else:
        heading = f"label {label}"
        lines = [f"this: {_read(answer)}, {sure}", f"{other}: {_read(entry['other_answer'])}"]
    picture = _image(
        report["pictures"]["images"][str(entry["index"])],
        f"{name}, labelled {label}, read as {_read(answer)}",
        (28, 28),
    )
    caption = node(
        "figcaption",
        node("strong", heading),
        *(node("span", line) for line in lines),
        node("span", name, class_="note"),
        node("span", "label known to be wrong", class_="badge")
        if entry["is_mislabelled"]
        else None,
    )
    return node("figure", picture, caption)


def spoilt(
    report: Mapping[str, Any], corruption: str, scale: float, paths: Mapping[str, str]
) -> Element:
    """Show a corruption and the share of mistakes it causes on each path.

    Args:
        report: the report.
        corruption: its name.
        scale: the error at which a bar has its full width.
        paths: how each path is called.
    """
    name = corruption.replace("_", " ")
    shown = report["pictures"]["spoilt_digits"]
    bars = []
    for path, measured in report["robustness"].items():
        c = measured["corruptions"][corruption]
        width = f"width: {100 * float(c['error']) / (scale or 1):.1f}%"
        bar = node("span", class_="meter " + path, style=width)
        error = node("strong", percent(c["error"], 1))
        sureness = node("span", interval(c["low"], c["high"], 1), class_="note")
        bars += [node("dt", paths.get(path, path)), node("dd", bar, error, " ", sureness)]
    digits = ", ".join(str(digit) for digit in shown)
    picture = _image(
        report["pictures"]["corruptions"][corruption],
        f"The digits {digits} with {name}",
        (28 * len(shown), 28),
    )
    return node("figure", node("h3", name), picture, node("figcaption", node("dl", *bars)))


def _read(answer: int | None) -> str:
    return "no digit" if answer is None else str(answer)


def _image(source: str, text: str, size: tuple[int, int]) -> Element:
    if not PICTURE.fullmatch(source):
        raise ValueError("a picture is not held in the report itself")
    return node("img", src=source, alt=text, width=size[0], height=size[1])
