"""Hold what was measured against the rules: pure functions, one for each rule.

    verdict = apply_rules(evidence, read_rules(Path("gates.toml")))
    print(verdict.table())

A gate vetoes, it never ranks: each rule is passed or refused, and nothing is added up. What the
margins let through, and what they refuse without need, is measured in docs/GATES.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mnistnet.metrics.intervals import paired_difference, wilson_interval
from mnistnet.text import interval, markdown_table, points, points_interval, printable, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.gate.rules import Rules
    from mnistnet.metrics.robustness import Robustness
    from mnistnet.metrics.timing import Spread


STATES = {True: "pass", False: "REFUSED"}


@dataclass(frozen=True)
class Check:
    """One rule: what was measured, against what limit, whether it passed, and if not, why."""

    rule: str
    measured: str
    against: str
    passed: bool
    why: str = ""


@dataclass(frozen=True)
class Verdict:
    """Every rule's check. The bundle passes if all do."""

    checks: tuple[Check, ...]
    correct: int = 0  # of the n test images, as the gate measured it
    n: int = 0  # 0 where nothing could be measured

    @property
    def passed(self) -> bool:
        """Whether the bundle may ship."""
        return all(check.passed for check in self.checks)

    @property
    def outcome(self) -> str:
        """How many rules refuse the bundle, without the reasons."""
        refused = sum(not check.passed for check in self.checks)
        n = len(self.checks)
        return f"refused by {refused} of {n} rules" if refused else f"passes all {n} rules"

    def summary(self) -> str:
        """Return the outcome and the reasons in one line."""
        reasons = "; ".join(f"{c.rule}: {c.why}" for c in self.checks if not c.passed)
        return f"{self.outcome}: {reasons}" if reasons else self.outcome

    def table(self, *, markdown: bool = False) -> str:
        """Lay out the checks, a line each, for a terminal or for a job's summary."""
        rows = [(STATES[c.passed], c.rule, c.measured, c.against) for c in self.checks]
        whys = [check.why for check in self.checks]
        if markdown:  # a reason may quote a hostile bundle, so every cell is escaped
            cells = [(*row, why) for row, why in zip(rows, whys, strict=True)]
            lines = markdown_table(("", "rule", "measured", "against", "why not"), cells)
            return "\n".join([f"The bundle **{self.outcome}**.", "", *lines])
        lines = []
        for line, why in zip(table(rows), whys, strict=True):
            lines += [line, f"         └ {why}"] if why else [line]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": self.passed, "summary": self.summary(), "checks": checks}


@dataclass(frozen=True, eq=False)
class Measured:
    """One bundle's figures."""

    correct: NDArray[np.bool_]  # (N,), of the test images; the same N for all bundles
    calibration_error: float  # expected calibration error, 0–1
    robustness: Robustness  # of the network, under corruptions
    parameters: int
    size_bytes: int  # of all its files but the manifest


@dataclass(frozen=True)
class Parity:
    """The largest difference of a probability from the weights' own, computed in float64."""

    difference: float
    images: int


@dataclass(frozen=True)
class Served:
    """How many pictures a fresh process without torch read correctly; if none, the reason."""

    correct: int
    pictures: int
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that was measured; None where there is nothing to compare with."""

    candidate: Measured
    parity: Parity
    served: Served
    champion: Measured | None = None
    best: Measured | None = None
    images_time: Spread | None = None  # the candidate's for a batch, divided by the champion's
    picture_time: Spread | None = None  # … for one picture


def apply_rules(evidence: Evidence, rules: Rules) -> Verdict:
    """Check every rule. Relative rules pass where there is nothing to compare with."""
    e, r = evidence, rules
    return Verdict(
        (
            _parameters(e.candidate, r.parameters_below),
            _accuracy(e.candidate, r.course_accuracy, "accuracy", "the course's"),
            _accuracy(e.candidate, r.accuracy_floor, "floor", "our own"),
            _calibration(e.candidate, r.calibration_error),
            _parity(e.parity, r.parity_difference),
            _servable(e.served, r.served_share),
            _loss(e.candidate, e.champion, "champion", r.loss_to_champion_points),
            _loss(e.candidate, e.best, "best", r.loss_to_best_points),
            _corruptions(e.candidate, e.champion, "champion", r.corruption_excess_points),
            _corruptions(e.candidate, e.best, "best", r.corruption_excess_points),
            _size(e.candidate, e.champion, r.size_ratio),
            _latency("images", e.images_time, r.latency_ratio),
            _latency("a picture", e.picture_time, r.latency_ratio),
        ),
        correct=int(e.candidate.correct.sum()),
        n=len(e.candidate.correct),
    )


def refuse(problem: str) -> Verdict:
    """Refuse a bundle that is damaged or does not compute: there is nothing to measure."""
    why = printable(problem)  # which may quote the bundle
    return Verdict((Check("whole", "not", "its manifest and stored answers", False, why),))


def largest_loss_points(other: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> float:
    """Return the largest loss in points within the 95 % interval of the paired difference.

    Args:
        other: bool (N,), whether the bundle to compare with classified each image correctly.
        candidate: bool (N,), the same of the candidate.
    """
    return -100 * paired_difference(other, candidate).low


# ---- one function for each rule; a comparison with NaN is false, so NaN is refused


def _check(rule: str, measured: str, against: str, passed: bool, why: str) -> Check:
    return Check(rule, measured, against, passed, "" if passed else why)


def _not_compared(rule: str, with_what: str = "champion") -> Check:
    return Check(rule, "not compared", f"no {with_what}", passed=True)


def _parameters(candidate: Measured, limit: int) -> Check:
    n = candidate.parameters
    why = f"{n:,} parameters are {n - limit + 1:,} too many"
    return _check("parameters", f"{n:,}", f"fewer than {limit:,}", n < limit, why)


def _accuracy(candidate: Measured, limit: float, rule: str, whose: str) -> Check:
    correct, n = int(candidate.correct.sum()), len(candidate.correct)
    ends = interval(*wilson_interval(correct, n))
    measured = f"{correct / n:.2%} of {n:,} images ({ends})"
    why = f"{n - correct:,} of {n:,} images are wrong; {(1 - limit) * n:,.0f} may be"
    return _check(rule, measured, f"at least {limit:.2%}, {whose}", correct / n >= limit, why)


def _calibration(candidate: Measured, limit: float) -> Check:
    error = candidate.calibration_error
    measured = f"expected calibration error {error:.4f}"
    why = f"its confidence is off by {error * 100:.1f} points on average"
    return _check("calibration", measured, f"at most {limit:g}", error <= limit, why)


def _parity(parity: Parity, limit: float) -> Check:
    measured = f"probabilities within {parity.difference:.1g} on {parity.images:,} images"
    against = f"within {limit:g} of weights.safetensors, computed in float64"
    why = "digit.onnx is not the network of weights.safetensors; export the run again"
    return _check("parity", measured, against, parity.difference <= limit, why)


def _servable(served: Served, share: float) -> Check:
    measured = f"{served.correct} of {served.pictures} pictures read correctly"
    against = f"at least {share:.0%}, in a fresh process without torch"
    why = served.problem or f"{served.pictures - served.correct} pictures are wrong"
    return _check("servable", measured, against, served.correct >= share * served.pictures, why)


def _loss(candidate: Measured, other: Measured | None, name: str, margin: float) -> Check:
    """Non-inferiority: even the least favourable end of the interval is under the margin."""
    rule = f"not worse than {name}"
    if other is None:
        return _not_compared(rule, name)
    gain = paired_difference(other.correct, candidate.correct)
    lost = int((other.correct & ~candidate.correct).sum())
    won = int((candidate.correct & ~other.correct).sum())
    most, n = largest_loss_points(other.correct, candidate.correct), len(other.correct)
    ends = points_interval(gain.low, gain.high)
    measured = f"{points(gain.difference)} points ({ends}; {lost} answers lost, {won} won)"
    against = f"{name}: a loss of {margin:g} points is ruled out"
    why = f"{lost} answers lost and {won} won of {n:,} do not rule out a loss of {most:.2f} points"
    return _check(rule, measured, against, most < margin, why)


def _corruptions(candidate: Measured, other: Measured | None, name: str, margin: float) -> Check:
    rule = f"corruptions against {name}"
    if other is None:
        return _not_compared(rule, name)
    ours, theirs = (100 * m.robustness.mean_error for m in (candidate, other))
    n = candidate.robustness.n
    measured = f"mean error {ours:.2f}% on {n:,} images under each corruption"
    against = f"{name}: {theirs:.2f}% and at most {margin:g} points more"
    why = f"its mean error is {ours - theirs:.2f} points higher"
    return _check(rule, measured, against, ours - theirs <= margin, why)


def _size(candidate: Measured, champion: Measured | None, limit: float) -> Check:
    if champion is None:
        return _not_compared("size")
    ratio = candidate.size_bytes / champion.size_bytes
    against = f"champion: {champion.size_bytes / 1000:,.0f} kB, at most {limit:g} times"
    why = f"it is {ratio:.2f} times as large"
    return _check("size", f"{candidate.size_bytes / 1000:,.0f} kB", against, ratio <= limit, why)


def _latency(of_what: str, ratio: Spread | None, limit: float) -> Check:
    rule = f"latency of {of_what}"
    if ratio is None:
        return _not_compared(rule)
    measured = f"{ratio.median:.2f} of the champion's (median of {ratio.n} rounds in turn)"
    why = f"it takes {ratio.median:.2f} times as long"
    return _check(rule, measured, f"champion: at most {limit:g} times", ratio.median <= limit, why)
