"""May this bundle ship? Pure rules over what was measured; `mnistnet gate` measures, asks, prints.

    verdict = judge(evidence, read_rules(Path("gates.toml")))
    print(verdict.table())

A gate vetoes, it never ranks: each rule is passed or refused, and nothing is added up. What the
margins let through, and what they refuse without need, is measured in docs/GATES.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistnet.gate.rules import Rules, read_rules
from mnistnet.gate.verdict import Check, Verdict
from mnistnet.metrics.intervals import paired_difference, wilson_interval
from mnistnet.text import points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Check",
    "Evidence",
    "Latency",
    "Measured",
    "Parity",
    "Rules",
    "Served",
    "Verdict",
    "judge",
    "largest_loss_points",
    "read_rules",
    "refusal",
]


@dataclass(frozen=True, eq=False)
class Measured:
    """What one bundle is and does on the test images.

    Attributes:
        correct: bool (N,), whether each test image was read rightly; for all bundles the same N.
        calibration_error: the expected calibration error, 0–1.
        corruption_error: the mean error over all corruptions, 0–1.
        corruption_images: on so many images, each spoilt in every way.
        parameters: how many the network learnt.
        size_bytes: of all its files but the manifest.
    """

    correct: NDArray[np.bool_]
    calibration_error: float
    corruption_error: float
    corruption_images: int
    parameters: int
    size_bytes: int


@dataclass(frozen=True)
class Parity:
    """The largest difference of a probability from PyTorch's on the weights; None without torch."""

    difference: float | None
    images: int


@dataclass(frozen=True)
class Served:
    """Of so many pictures, how many a fresh process without torch read rightly; of none, why."""

    right: int
    pictures: int
    problem: str = ""


@dataclass(frozen=True)
class Latency:
    """The candidate's time as a share of the champion's: medians over rounds side by side."""

    images: float  # a batch of 28×28 images
    picture: float  # one picture of any size
    rounds: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that was measured; None where there is nothing to compare with."""

    candidate: Measured
    parity: Parity
    served: Served
    champion: Measured | None = None
    best: Measured | None = None
    latency: Latency | None = None


def judge(evidence: Evidence, rules: Rules) -> Verdict:
    """Hold what was measured against the rules. Without a champion, relative rules pass."""
    e, r = evidence, rules
    return Verdict(
        (
            _parameters(e.candidate, r),
            _accuracy(e.candidate, r.course_accuracy, "accuracy", "the course's"),
            _accuracy(e.candidate, r.accuracy_floor, "floor", "our own"),
            _calibration(e.candidate, r),
            _parity(e.parity, r),
            _servable(e.served, r),
            _loss(e.candidate, e.champion, "champion", r.loss_to_champion_points),
            _loss(e.candidate, e.best, "best", r.loss_to_best_points),
            _corruptions(e.candidate, e.champion, "champion", r.corruption_excess_points),
            _corruptions(e.candidate, e.best, "best", r.corruption_excess_points),
            _size(e.candidate, e.champion, r),
            *_latencies(e.latency, r),
        )
    )


def refusal(problem: str) -> Verdict:
    """Refuse a bundle that is damaged or does not compute: there is nothing to measure."""
    return Verdict(
        (Check("whole", "not", "its manifest and stored answers", passed=False, why=problem),)
    )


def largest_loss_points(other: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> float:
    """Give the largest loss, in points, that the 95 % interval of the difference leaves open.

    Args:
        other: bool (N,), whether the bundle to compare with read each image rightly.
        candidate: bool (N,), the same of the candidate.
    """
    return -100 * paired_difference(other, candidate).low


# ---- one function a rule


def _check(rule: str, measured: str, against: str, *, passed: bool, why: str) -> Check:
    return Check(rule, measured, against, passed, "" if passed else why)


def _nothing_to_compare(rule: str, with_what: str = "champion") -> Check:
    return Check(rule, "not compared", f"no {with_what}", passed=True)


def _parameters(candidate: Measured, rules: Rules) -> Check:
    n, limit = candidate.parameters, rules.parameters_below
    return _check(
        "parameters",
        f"{n:,}",
        f"fewer than {limit:,}",
        passed=n < limit,
        why=f"{n:,} parameters are {n - limit + 1:,} too many",
    )


def _accuracy(candidate: Measured, limit: float, rule: str, whose: str) -> Check:
    right, n = int(candidate.correct.sum()), len(candidate.correct)
    low, high = wilson_interval(right, n)
    return _check(
        rule,
        f"{right / n:.2%} of {n:,} images (95% interval {low * 100:.2f}–{high * 100:.2f})",
        f"at least {limit:.2%}, {whose}",
        passed=right / n >= limit,
        why=f"{n - right:,} of {n:,} images are read wrongly; {(1 - limit) * n:,.0f} may be",
    )


def _calibration(candidate: Measured, rules: Rules) -> Check:
    error, limit = candidate.calibration_error, rules.calibration_error
    return _check(
        "calibration",
        f"expected calibration error {error:.4f}",
        f"at most {limit:g}",
        passed=error <= limit,  # a NaN is refused
        why=f"its confidence is off by {error * 100:.1f} points on average",
    )


def _parity(parity: Parity, rules: Rules) -> Check:
    limit = rules.parity_difference
    if parity.difference is None:  # that they are reproduced was found before anything else
        return Check("parity", "stored answers of PyTorch reproduced", "vectors.json", passed=True)
    return _check(
        "parity",
        f"probabilities within {parity.difference:.1g} on {parity.images:,} images",
        f"within {limit:g} of weights.safetensors in PyTorch",
        passed=parity.difference <= limit,  # a NaN is refused
        why="digit.onnx is not the network of weights.safetensors; export the run anew",
    )


def _servable(served: Served, rules: Rules) -> Check:
    return _check(
        "servable",
        f"{served.right} of {served.pictures} pictures read rightly",
        f"at least {rules.served_share:.0%}, in a fresh process without torch",
        passed=served.right >= rules.served_share * served.pictures,
        why=served.problem or f"{served.pictures - served.right} pictures were read wrongly",
    )


def _loss(candidate: Measured, other: Measured | None, name: str, margin: float) -> Check:
    """Non-inferiority: even the least favourable end of the interval is under the margin."""
    rule = f"not worse than {name}"
    if other is None:
        return _nothing_to_compare(rule, name)
    gain = paired_difference(other.correct, candidate.correct)
    lost = int((other.correct & ~candidate.correct).sum())
    won = int((candidate.correct & ~other.correct).sum())
    most = largest_loss_points(other.correct, candidate.correct)
    return _check(
        rule,
        f"{points(gain.difference)} points (95% interval {points(gain.low)} to"
        f" {points(gain.high)}; {lost} answers lost, {won} won)",
        f"{name}: a loss of {margin:g} points is ruled out",
        passed=most < margin,
        why=f"{lost} answers lost and {won} won of {len(other.correct):,} do not rule out"
        f" a loss of {most:.2f} points",
    )


def _corruptions(candidate: Measured, other: Measured | None, name: str, margin: float) -> Check:
    rule = f"corruptions against {name}"
    if other is None:
        return _nothing_to_compare(rule, name)
    mine, theirs = (100 * m.corruption_error for m in (candidate, other))
    return _check(
        rule,
        f"mean error {mine:.2f}% on {candidate.corruption_images:,} images, spoilt in each way",
        f"{name}: {theirs:.2f}% and at most {margin:g} points more",
        passed=mine - theirs <= margin,
        why=f"its mean error is {mine - theirs:.2f} points higher",
    )


def _size(candidate: Measured, champion: Measured | None, rules: Rules) -> Check:
    if champion is None:
        return _nothing_to_compare("size")
    ratio = candidate.size_bytes / champion.size_bytes
    return _check(
        "size",
        f"{candidate.size_bytes / 1000:,.0f} kB",
        f"champion: {champion.size_bytes / 1000:,.0f} kB, at most {rules.size_ratio:g} times",
        passed=ratio <= rules.size_ratio,
        why=f"it is {ratio:.2f} times as large",
    )


def _latencies(latency: Latency | None, rules: Rules) -> tuple[Check, Check]:
    names = ("latency of images", "latency of a picture")
    if latency is None:
        return _nothing_to_compare(names[0]), _nothing_to_compare(names[1])
    return (
        _latency(names[0], latency.images, latency.rounds, rules.latency_ratio),
        _latency(names[1], latency.picture, latency.rounds, rules.latency_ratio),
    )


def _latency(rule: str, ratio: float, rounds: int, limit: float) -> Check:
    return _check(
        rule,
        f"{ratio:.2f} of the champion's (median of {rounds} rounds side by side)",
        f"champion: at most {limit:g} times",
        passed=ratio <= limit,
        why=f"it takes {ratio:.2f} times as long",
    )
