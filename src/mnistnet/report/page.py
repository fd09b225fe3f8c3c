"""The report as one HTML page, which needs no network, no script and no other file.

    page = render_page(report)

The text and the charts (SVG) are in `templates/`; here is what templates cannot compute. Whatever
comes from outside is escaped by Jinja2, after `printable` has replaced what steers a terminal.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnistnet import text
from mnistnet.metrics.intervals import wilson_interval
from mnistnet.report.contents import SIDE
from mnistnet.report.summary import PATHS, spread, unread, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from mnistnet.metrics.intervals import Interval
    from mnistnet.metrics.scores import ReliabilityBin
    from mnistnet.report.contents import Report


def render_page(report: Report) -> str:
    """Return a report as an HTML document."""
    return environment().get_template("page.html").render(report=report)


@dataclass(frozen=True)
class Axis:
    """A chart's axis, from the first of its ticks to the last; `start` and `end` are in pixels."""

    ticks: list[float]
    start: float
    end: float
    unit: str = ""

    @classmethod
    def over(cls, low: float, high: float, start: float, end: float, unit: str = "") -> Axis:
        """Return an axis with two to nine round ticks, from at most `low` to at least `high`."""
        span = max(high - low, 1e-4)
        power = 10.0 ** math.floor(math.log10(span / 4))
        step = next(n * power for n in (1, 2, 5, 10) if span / (n * power) <= 7)
        last = math.ceil(round(high / step, 6))
        first = min(math.floor(round(low / step, 6)), last - 1)
        return cls([round(n * step, 10) for n in range(first, last + 1)], start, end, unit)

    def __call__(self, value: float) -> float:
        """Return the position of a value, in pixels."""
        low, high = self.ticks[0], self.ticks[-1]
        return round(self.start + (self.end - self.start) * (value - low) / (high - low), 1)

    def label(self, tick: float) -> str:
        """Return a tick's value as it is written; shares in per cent."""
        return f"{100 * tick:.6g}%" if self.unit == "%" else f"{tick:g}"


@cache
def environment() -> Environment:
    """Return what renders the templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # 20 ms, not for other verbs

    made = Environment(
        loader=PackageLoader("mnistnet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: text.printable(value) if type(value) is str else value,
    )
    for function in (
        *(text.count, text.counted, text.decimal, text.p_value, text.percent, text.points),
        *(text.points_interval, text.size, accuracy_interval, asdict, mean, png, png_address),
        *(spread, unread, verdict),
    ):
        made.filters[function.__name__] = function
    made.globals |= {"axis": Axis.over, "path_names": PATHS}
    return made


def png(pixels: bytes) -> str:
    """Return 28 rows of pixels as an address that holds the PNG file itself."""
    content = io.BytesIO()
    Image.frombytes("L", (len(pixels) // SIDE, SIDE), pixels).save(content, "png")
    return png_address(content.getvalue())


def png_address(content: bytes) -> str:
    """Return an address that holds a PNG file itself."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def accuracy_interval(measured: ReliabilityBin) -> Interval:
    """Return the 95% interval of the accuracy in a bin that is not empty."""
    return wilson_interval(round((measured.accuracy or 0.0) * measured.n), measured.n)


def mean(bins: Sequence[ReliabilityBin], name: str) -> float:
    """Return the mean of a field over all images in some bins."""
    return float(np.average([getattr(b, name) for b in bins], weights=[b.n for b in bins]))
