"""What the model is: its size, its speed where it was timed, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet.report.html.markup import scrolling, section, table
from mnistnet.text import count, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

    Report = Mapping[str, Any]


TIMED = {  # what is timed → in words
    "images_per_s": "28×28 images a second, many at once",
    "ms_per_picture": "milliseconds a picture of 280×280 pixels, one by one",
    "runtime": "many at once were computed by",
}


def size_and_speed(report: Report) -> Element | None:
    """Say how large the model is and, where it was timed, how fast."""
    model, rows = report["model"], []
    if "parameters" in model:
        rows.append(("parameters", count(model["parameters"])))
    rows += [(name, size(n)) for name, n in model.get("size_bytes", {}).items()]
    rows += [_timing(name, figure) for name, figure in report.get("speed", {}).items()]
    if not rows:
        return None
    heading = "Size and speed" if "speed" in report else "Size"
    return section("size", heading, scrolling(table(heading, ("what", "how much"), rows), heading))


def _timing(name: str, figure: Any) -> tuple[str, str]:
    """Write what was timed, with its spread where it was timed several times."""
    words = TIMED.get(name, name.replace("_", " "))
    if not isinstance(figure, dict):
        return words, str(figure)
    spread = f"{_rounded(figure['low'])}–{_rounded(figure['high'])}"
    return words, f"{_rounded(figure['median'])} (quartiles {spread}, n = {count(figure['n'])})"


def _rounded(figure: float) -> str:
    return count(figure) if figure >= 100 else f"{figure:.3g}"


def origin(report: Report) -> Element:
    """Say what the figures were measured on and where the model came from."""
    known = {"name", "parameters", "size_bytes"}
    model = {key: value for key, value in report["model"].items() if key not in known}
    rows = [*_flat("data", report["dataset"]), *_flat("model", model)]
    if "against" in report:
        rows += _flat("compared with", report["against"].get("model", {}))
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
