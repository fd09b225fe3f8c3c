"""How sure a figure is: intervals, and whether two models really differ. NumPy only.

    >>> wilson_interval(correct=9967, n=10000)
    Interval(low=0.9953..., high=0.9979...)

All intervals are at 95 %. Quantiles and tails are computed here, from formulas short enough to
read, so that predicting and judging need no SciPy; the tests hold each against SciPy's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnistnet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % point: 95 % lie within ±Z_95


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class MeanInterval(NamedTuple):
    """The mean over runs, their standard deviation, and the mean's 95 % interval."""

    mean: float
    sd: float
    low: float
    high: float
    n: int


class McNemar(NamedTuple):
    """What two models answered differently on the same images.

    Attributes:
        n01: images that A has wrong and B has right.
        n10: images that A has right and B has wrong.
        p: two-sided p-value of "both are wrong equally often".
    """

    n01: int
    n10: int
    p: float


class PairedDifference(NamedTuple):
    """B's accuracy minus A's on the same images, and its 95 % interval."""

    difference: float
    low: float
    high: float


def wilson_interval(correct: int, n: int) -> Interval:
    """Give the 95 % interval of an accuracy that was measured as `correct` of `n`.

    Wilson's score interval (Wilson 1927, JASA 22:209–212): unlike ± z·√(p(1−p)/n) it keeps
    its promise near 0 and 1, which is where a digit classifier's accuracy lies.

    Raises:
        DataError: there are no images, or more correct ones than images.
    """
    if n < 1 or not 0 <= correct <= n:
        raise DataError(f"{correct} correct of {n}: an accuracy needs 0 ≤ correct ≤ n and n ≥ 1")
    share = correct / n
    centre = share + Z_95**2 / (2 * n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    # At the ends the formula gives exactly 0 and 1; floating point misses them by a hair.
    low = 0.0 if correct == 0 else (centre - half) / scale
    high = 1.0 if correct == n else (centre + half) / scale
    return Interval(low, high)


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Give mean, standard deviation and 95 % t interval of one figure over several seeds.

    Student 1908: mean ± t·sd/√n, where sd has n − 1 in its denominator and t is the 97.5 %
    point of the t distribution with n − 1 degrees of freedom.

    Raises:
        DataError: fewer than two values (one run says nothing about the spread), or a value
            that is not finite.
    """
    n = len(values)
    if n < 2 or not all(math.isfinite(value) for value in values):
        raise DataError(f"an interval over seeds needs two or more finite values, not {n} such")
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = student_t_95(n - 1) * sd / math.sqrt(n)
    return MeanInterval(mean, sd, mean - half, mean + half, n)


def student_t_95(degrees_of_freedom: int) -> float:
    """Give the t within which 95 % of Student's distribution lie (±)."""
    v = degrees_of_freedom
    # At a right angle the enclosed share is 1 and at 0 it is 0, so the root lies between.
    angle = _bisect(lambda angle: _student_share(angle, v) - 0.95, 0.0, math.pi / 2)
    return math.sqrt(v) * math.tan(angle)


def _student_share(angle: float, v: int) -> float:
    """Give the share of Student's distribution within ±t, for angle = arctan(t/√v).

    A finite sum for whole degrees of freedom v: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    is_odd = v % 2
    term, total = (cos if is_odd else 1.0), 0.0
    for k in range(is_odd, v - 1, 2):
        total += term
        term *= cos * cos * (k + 1) / (k + 2)
    return 2 / math.pi * (angle + sin * total) if is_odd else sin * total


def mcnemar_exact(a_correct: ArrayLike, b_correct: ArrayLike) -> McNemar:
    """Test whether models A and B are wrong equally often on the same images.

    McNemar 1947 (Psychometrika 12:153–157) in its exact form: if neither is better, each image
    on which they disagree falls to either side like a coin, so the p-value is a two-sided
    binomial tail. Computed in whole numbers, so it is exact however many images there are.

    Args:
        a_correct: bool (N,), whether A answered each image correctly.
        b_correct: bool (N,), the same of B, in the same order.

    Raises:
        DataError: no images, or not the same number of them.
    """
    n01, n10, _ = _flips(a_correct, b_correct)
    n = n01 + n10
    tail, ways = 0, 1  # ways: of choosing k out of n
    for k in range(min(n01, n10) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return McNemar(n01, n10, min(1.0, 2 * tail / 2**n))


def paired_difference(a_correct: ArrayLike, b_correct: ArrayLike) -> PairedDifference:
    """Give B's accuracy minus A's, with a 95 % interval that respects the pairing.

    Tango 1998 (Statistics in Medicine 17:891–908): the differences that a score test would not
    refuse. It keeps its coverage when few images or none are flipped, where the usual
    (Wald) interval collapses; Fagerland et al. 2014 (same journal, 33:2850–2875) recommend it.

    Args:
        a_correct: bool (N,), whether A answered each image correctly.
        b_correct: bool (N,), the same of B, in the same order.

    Raises:
        DataError: no images, or not the same number of them.
    """
    n01, n10, n = _flips(a_correct, b_correct)
    difference = (n01 - n10) / n
    low = _bisect(lambda d: Z_95 - _tango_score(d, n01, n10, n), -1.0, difference)
    high = _bisect(lambda d: -Z_95 - _tango_score(d, n01, n10, n), difference, 1.0)
    return PairedDifference(difference, low, high)


def _tango_score(d: float, n01: int, n10: int, n: int) -> float:
    """Give how many standard errors the observed difference lies above an assumed one, d."""
    # The likeliest share of n10, given d, solves 2n·q² + b·q + c = 0 (Tango 1998, eq. 9).
    b = (2 * n - n01 + n10) * d - n01 - n10
    c = -n10 * d * (1 - d)
    share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * share + d * (1 - d))
    distance = n01 - n10 - n * d
    if variance <= 0:  # only where the data are certain under d, or impossible
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _flips(a_correct: ArrayLike, b_correct: ArrayLike) -> tuple[int, int, int]:
    """Count images that only B has right, that only A has right, and all."""
    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise DataError(
            f"a paired comparison needs the same images, at least one, from both models; "
            f"got answers of shape {a.shape} and {b.shape}"
        )
    return int((~a & b).sum()), int((a & ~b).sum()), len(a)


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """Find where a rising function crosses zero, to the last bit between `low` and `high`."""
    while low < (middle := (low + high) / 2) < high:
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return middle
