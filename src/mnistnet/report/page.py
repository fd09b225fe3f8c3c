"""The report as one HTML page, which needs no network, no script and no other file.

    page = render_page(report)

The text and the charts (SVG) are in `templates/`; here is what templates cannot compute. Whatever
comes from outside is escaped by Jinja2, after `printable` has replaced what steers a terminal.
"""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet import text
from mnistnet.report.contents import SIDE
from mnistnet.report.pictures import png_address
from mnistnet.report.summary import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jinja2 import BytecodeCache, Environment

    from mnistnet.metrics.timing import Spread
    from mnistnet.report.contents import CalibrationBin, Model, Report

TEMPLATES = Path(__file__).parent / "templates"


def render_page(report: Report) -> str:
    """Return a report as an HTML document."""
    return _environment().get_template("page.html").render(report=report)


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
        """Return the place of a value, in pixels."""
        low, high = self.ticks[0], self.ticks[-1]
        return round(self.start + (self.end - self.start) * (value - low) / (high - low), 1)

    def label(self, tick: float) -> str:
        """Return a tick's value as it is written; shares in per cent."""
        return f"{100 * tick:.6g}%" if self.unit == "%" else f"{tick:g}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # 20 ms, not for other verbs

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        bytecode_cache=_bytecode_cache(),
        autoescape=True,
        undefined=StrictUndefined,
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: text.printable(value) if type(value) is str else value,
    )
    for function in (
        *(text.percent, text.points, text.count, text.counted, text.decimal, text.p_value),
        *(text.size, verdict, png, spread, mean, origin_rows),
    ):
        environment.filters[function.__name__] = function
    environment.globals["axis"] = Axis.over
    return environment


def _bytecode_cache() -> BytecodeCache | None:
    """Return where compiled templates are kept: where Python keeps its modules', if it may.

    Compiling them takes as long as all the rest that a run of `mnistnet train` shows.
    """
    from jinja2 import FileSystemBytecodeCache

    folder = Path(cache_from_source(str(TEMPLATES / "page.html"))).parent
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
    may_write = os.access(folder, os.W_OK) and not sys.dont_write_bytecode
    return FileSystemBytecodeCache(str(folder)) if may_write else None


def png(pixels: bytes) -> str:
    """Return pixels, 28 rows, as the address of a PNG file."""
    return png_address(np.frombuffer(pixels, np.uint8).reshape(SIDE, -1))


def spread(timed: Spread) -> str:
    """Write what was timed several times: median, quartiles, and n."""
    low, median, high = (
        text.count(t) if t >= 100 else f"{t:.3g}" for t in (timed.low, timed.median, timed.high)
    )
    return f"{median} (quartiles {low}–{high}, n = {timed.n:,})"


def mean(bins: Sequence[CalibrationBin], name: str) -> float:
    """Return the mean of a field over all images in some bins."""
    return float(np.average([getattr(b, name) for b in bins], weights=[b.n for b in bins]))


def origin_rows(report: Report) -> Iterator[tuple[str, str]]:
    """Flatten what is known of data and models into rows."""
    yield from _rows("data", report.dataset.sha256)
    yield from _rows("model", _origin(report.model))
    if report.against:
        yield from _rows("compared with", _origin(report.against.model))


def _origin(model: Model) -> dict[str, Any]:
    parts = {"kind": model.kind, "sha256": model.sha256}
    return parts | (asdict(model.origin) if model.origin else {})


def _rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _rows(f"{name} · {key}", item)
    elif value is not None:
        yield name, str(value)
