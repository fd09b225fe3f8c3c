"""Confidence intervals, and paired tests of two models on the same images. NumPy only.

    >>> wilson_interval(correct=9967, n=10000)
    Interval(low=0.9953..., high=0.9979...)

All intervals are at 95 %. Quantiles and tails are computed here, from short formulas, so that
predicting and evaluating need no SciPy; the tests compare each with SciPy's. The paired functions
take bool (N,) of two models A and B: whether each image was classified correctly, in the same
order. Every function raises DataError where there are no images, or counts do not match.
"""

from __future__ import annotations

import math
import statistics
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
    """The mean over several runs, their standard deviation, and the mean's 95 % interval."""

    mean: float
    sd: float
    low: float
    high: float


class McNemar(NamedTuple):
    """Two-sided p-value of "A and B are wrong equally often".

    `n01` images are wrong by A and correct by B, `n10` the reverse.
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
    """Return the 95 % interval of an accuracy that was measured as `correct` of `n`.

    Wilson's score interval (Wilson 1927, JASA 22:209–212): unlike ± z·√(p(1−p)/n) it keeps its
    coverage near 0 and 1, where a digit classifier's accuracy lies.
    """
    if n < 1 or not 0 <= correct <= n:
        raise DataError(f"{correct} correct of {n}: an accuracy needs 0 ≤ correct ≤ n and n ≥ 1")
    share = correct / n
    centre = share + Z_95**2 / (2 * n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    # At the ends the formula gives exactly 0 and 1, floating point nearly.
    low = 0.0 if correct == 0 else (centre - half) / scale
    high = 1.0 if correct == n else (centre + half) / scale
    return Interval(low, high)


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return mean, standard deviation and 95 % t interval of one figure over several seeds.

    Student 1908: mean ± t·sd/√n, where sd has n − 1 in its denominator and t is the 97.5 %
    point of the t distribution with n − 1 degrees of freedom. DataError where fewer than two
    values are given, or one is not finite.
    """
    n = len(values)
    if n < 2 or not all(math.isfinite(value) for value in values):
        raise DataError(f"an interval over seeds needs two or more finite values, not {n} such")
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    half = student_t_95(n - 1) * sd / math.sqrt(n)
    return MeanInterval(mean, sd, mean - half, mean + half)


def student_t_95(degrees_of_freedom: int) -> float:
    """Return the t within which 95 % of Student's distribution lie (±)."""
    v = degrees_of_freedom
    # With t = √v·tan(angle), 0 encloses nothing and a right angle everything.
    angle = _bisect(lambda angle: _student_share(angle, v) - 0.95, 0.0, math.pi / 2)
    return math.sqrt(v) * math.tan(angle)


def _student_share(angle: float, v: int) -> float:
    """Return the share of Student's distribution within ±t, for angle = arctan(t/√v).

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

    McNemar 1947 (Psychometrika 12:153–157), exact: under the null hypothesis the discordant
    images split like tosses of a coin, so the p-value is a two-sided binomial tail. Computed in
    whole numbers, so it is exact however many images there are.
    """
    n01, n10, _ = _discordant(a_correct, b_correct)
    n = n01 + n10
    tail, ways = 0, 1  # ways: of choosing k out of n
    for k in range(min(n01, n10) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return McNemar(n01, n10, min(1.0, 2 * tail / 2**n))


def paired_difference(a_correct: ArrayLike, b_correct: ArrayLike) -> PairedDifference:
    """Return B's accuracy minus A's, with a 95 % interval for paired data.

    Tango 1998 (Statistics in Medicine 17:891–908): the differences that a score test would not
    reject. Unlike the Wald interval it keeps its coverage with few discordant images, or none;
    Fagerland et al. 2014 (same journal, 33:2850–2875) recommend it.
    """
    n01, n10, n = _discordant(a_correct, b_correct)
    difference = (n01 - n10) / n
    low = _bisect(lambda d: Z_95 - _tango_score(d, n01, n10, n), -1.0, difference)
    high = _bisect(lambda d: -Z_95 - _tango_score(d, n01, n10, n), difference, 1.0)
    return PairedDifference(difference, low, high)


def largest_loss_points(a_correct: ArrayLike, b_correct: ArrayLike) -> float:
    """Return by how many points B may be worse, by the least favourable end of the interval."""
    return -100 * paired_difference(a_correct, b_correct).low


def _tango_score(d: float, n01: int, n10: int, n: int) -> float:
    """Return by how many standard errors the observed difference exceeds a true one of d."""
    # The maximum-likelihood share of n10, given d, solves 2n·q² + b·q + c = 0 (Tango 1998, eq. 9).
    b = (2 * n - n01 + n10) * d - n01 - n10
    c = -n10 * d * (1 - d)
    share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * share + d * (1 - d))
    distance = n01 - n10 - n * d
    if variance <= 0:  # only where the data are certain under d, or impossible
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _discordant(a_correct: ArrayLike, b_correct: ArrayLike) -> tuple[int, int, int]:
    """Count images that only B has correct, that only A has correct, and all."""
    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise DataError(
            f"a paired comparison needs the same images, at least one, from both models; "
            f"got shapes {a.shape} and {b.shape}"
        )
    return int((~a & b).sum()), int((a & ~b).sum()), len(a)


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero, to the last bit between `low` and `high`."""
    while low < (middle := (low + high) / 2) < high:
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return middle
