"""What the model is: its size, its speed where it was timed, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet.evaluation.html.markup import scrolling, section, table
from mnistnet.evaluation.html.words import count, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

    Report = Mapping[str, Any]


def size_and_speed(report: Report) -> Element | None:
    """Say how large the model is and, where it was timed, how fast."""
    model, rows = report["model"], []
    if "parameters" in model:
        rows.append(("parameters", count(model["parameters"])))
    rows += [(name, size(n)) for name, n in model.get("size_bytes", {}).items()]
    rows += [(name.replace("_", " "), str(v)) for name, v in report.get("speed", {}).items()]
    if not rows:
        return None
    heading = "Size and speed" if "speed" in report else "Size"
    return section("size", heading, scrolling(table(heading, ("what", "how much"), rows), heading))


def origin(report: Report) -> Element:
    """Say what the figures were measured on and where the model came from."""
    known = {"name", "parameters", "size_bytes"}
    model = {key: value for key, value in report["model"].items() if key not in known}
    rows = [*_flat("data", report["dataset"]), *_flat("model", model)]
    return section(
        "origin",
        "Where it came from",
        "With these, the model can be trained again and the figures measured again.",
        scrolling(table("Origin", ("what", "which"), rows, class_="origin"), "Origin"),
    )


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Turn nested mappings into rows, their keys joined."""
    if not isinstance(value, dict):
        yield name, str(value)
        return
    for key, item in value.items():
        yield from _flat(f"{name} · {key}", item)
