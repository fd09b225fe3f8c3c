"""Wall-clock times of calls, alone or of two in turn, and their spread.

>>> spread(time_calls([partial(predict, images)] * 20)).median      # seconds
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Call = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of n values."""

    median: float
    low: float
    high: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of at least one value."""
    low, median, high = (float(q) for q in np.percentile(values, (25, 50, 75)))
    return Spread(median, low, high, len(values))


def time_calls(calls: Sequence[Call]) -> list[float]:
    """Return the seconds that each call takes, after an untimed one for what is loaded once."""
    calls[0]()
    return [_seconds(call) for call in calls]


def time_in_turn(a: Call, b: Call, rounds: int) -> Spread:
    """Return the spread, over rounds, of a's time divided by b's.

    Both are called in every round, so that other load on the machine slows both; which is first
    alternates. One round before them is not timed.
    """
    a(), b()
    ratios = []
    for i in range(rounds):
        first, second = (b, a) if i % 2 else (a, b)
        first_s, second_s = _seconds(first), _seconds(second)
        ratios.append(second_s / first_s if i % 2 else first_s / second_s)
    return spread(ratios)


def _seconds(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
