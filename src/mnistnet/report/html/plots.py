"""Line plots as SVG, drawn to be read at a phone's width and coloured by the page's style.

>>> reliability_plot(report["calibration"]["bins"])
<Element 'svg' ...>
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mnistnet.report.html.markup import node
from mnistnet.text import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from xml.etree.ElementTree import Element

WIDTH, HEIGHT = 360, 250  # of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 58, 338, 10, 206  # of the plotting area


def reliability_plot(bins: Sequence[dict[str, Any]]) -> Element:
    """Draw each bin's accuracy, with its interval, against its confidence."""
    x, y = _scale(0, 1, LEFT, RIGHT), _scale(0, 1, BOTTOM, TOP)
    marks = [_line(x(0), y(0), x(1), y(1), "ideal")]
    for b in bins:
        if not b["n"]:
            continue
        middle = x((b["low"] + b["high"]) / 2)
        width = x(b["high"]) - x(b["low"]) - 2
        marks += [
            _rectangle(middle - width / 2, y(b["accuracy"]), width, y(0) - y(b["accuracy"])),
            _line(middle, y(b["accuracy_low"]), middle, y(b["accuracy_high"]), "whisker"),
        ]
    ticks = [i / 5 for i in range(6)]
    axes = _axes(x, y, ticks, ticks, "confidence", "share right")
    n = sum(1 for b in bins if b["n"])
    return _plot(
        f"Bars of accuracy against confidence in {n} bins, beside the diagonal on which they "
        "would lie if confidence were always justified; the same figures are in the table below.",
        *axes,
        *marks,
    )


def coverage_plot(
    curve: Sequence[Sequence[float]], chosen: dict[str, Any] | None = None
) -> Element:
    """Draw the accuracy on the answered pictures against the share that is answered."""
    ticks = accuracy_ticks(min(accuracy for _, accuracy in curve))
    left = min(0.9, math.floor(10 * curve[0][0]) / 10)
    x, y = _scale(left, 1, LEFT, RIGHT), _scale(ticks[0], ticks[-1], BOTTOM, TOP)
    points = " ".join(f"{x(share):.1f},{y(accuracy):.1f}" for share, accuracy in curve)
    marks = [node("polyline", points=points, class_="curve")]
    if chosen and chosen["answered"]:
        cx, cy = x(chosen["coverage"]), y(chosen["accuracy"])
        if cx >= LEFT and cy <= BOTTOM:
            marks.append(node("circle", cx=f"{cx:.1f}", cy=f"{cy:.1f}", r=5, class_="chosen"))
    steps = [left + (1 - left) * i / 5 for i in range(6)]
    return _plot(
        f"Accuracy rises from {percent(curve[-1][1])} with every picture answered to "
        f"{percent(curve[0][1])} with the most confident {percent(curve[0][0], 0)} answered.",
        *_axes(x, y, steps, ticks, "share answered", "share right"),
        *marks,
    )


def accuracy_ticks(lowest: float) -> list[float]:
    """Give five or six round accuracies from just below the lowest one up to 1."""
    span = max(1 - lowest, 1e-4)
    magnitude = 10.0 ** math.floor(math.log10(span))
    step = next(f * magnitude for f in (0.2, 0.5, 1, 2) if f * magnitude * 5 >= span)
    count = max(1, math.ceil(span / step - 1e-9))
    return [round(1 - step * i, 10) for i in range(count, -1, -1)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Map [low, high] onto the drawing."""
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _axes(
    x: Callable[[float], float],
    y: Callable[[float], float],
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_name: str,
    y_name: str,
) -> list[Element]:
    """Draw grid lines, their values in per cent, and the names of the axes."""
    digits = 0 if all(abs(tick * 100 - round(tick * 100)) < 1e-9 for tick in y_ticks) else 2
    parts = []
    for tick in y_ticks:
        parts.append(_line(LEFT, y(tick), RIGHT, y(tick), "grid"))
        parts.append(_text(LEFT - 5, y(tick) + 4, percent(tick, digits), "end"))
    for tick in x_ticks:
        parts.append(_line(x(tick), BOTTOM, x(tick), BOTTOM + 4, "grid"))
        parts.append(_text(x(tick), BOTTOM + 17, percent(tick, 0), "middle"))
    middle = (LEFT + RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 6, f"{x_name} (across), {y_name} (up)", "middle"))
    return parts


def _plot(description: str, *marks: Element) -> Element:
    return node(
        "svg",
        *marks,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        aria_label=description,
        class_="plot",
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Element:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return node("line", **{name: f"{at:.1f}" for name, at in ends.items()}, class_=kind)


def _rectangle(x: float, y: float, width: float, height: float) -> Element:
    box = {"x": x, "y": y, "width": width, "height": height}
    return node("rect", **{name: f"{size:.1f}" for name, size in box.items()}, class_="bar")


def _text(x: float, y: float, words: str, anchor: str) -> Element:
    return node("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)
