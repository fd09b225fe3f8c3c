"""Hold what was measured against the rules: pure functions, one for each rule.

    verdict = apply_rules(evidence, read_rules(Path("gates.toml")))
    print(verdict.table())

A gate vetoes, it never ranks: each rule is passed or refused, and nothing is added up. What the
margins let through, and what they refuse without need, is measured in docs/GATES.md.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mnistnet.metrics.intervals import largest_loss_points, paired_difference, wilson_interval
from mnistnet.text import interval, markdown_table, points, points_interval, printable, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.evaluation.claims import Claims
    from mnistnet.gate.rules import Rules
    from mnistnet.metrics.pictures import PicturesRead
    from mnistnet.metrics.robustness import Robustness
    from mnistnet.metrics.timing import Spread


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
        rows = [
            ("pass" if c.passed else "REFUSED", c.rule, c.measured, c.against) for c in self.checks
        ]
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
    pictures: PicturesRead  # by picture.onnx; the same pictures for all bundles
    parameters: int
    size_bytes: int  # of all its files but the manifest


@dataclass(frozen=True)
class Parity:
    """The largest difference of a probability from the network's own, on n inputs."""

    difference: float
    n: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that was measured; None where there is nothing to compare with."""

    candidate: Measured
    parity: Parity  # of digit.onnx with the weights, computed in float64
    claims: Claims
    champion: Measured | None = None
    best: Measured | None = None
    images_time: Spread | None = None  # the candidate's for a batch, divided by the champion's
    picture_time: Spread | None = None  # … for one picture


def apply_rules(evidence: Evidence, rules: Rules) -> Verdict:
    """Check every rule. Relative rules pass where there is nothing to compare with."""
    e, r, ours = evidence, rules, evidence.candidate
    pictures, (kind, of_kind) = ours.pictures, ours.pictures.worst_kind()
    seen = Parity(pictures.difference, len(pictures.digits))
    champion = e.champion.correct if e.champion else None
    drawn = e.champion.pictures.correct if e.champion else None
    checks = (
        _parameters(ours, r.parameters_below),
        _share("accuracy", ours.correct, r.course_accuracy, "images"),
        _share("floor", ours.correct, r.accuracy_floor, "images"),
        _claims(e.claims, r.claim_difference),
        _calibration(ours, r.calibration_error),
        _parity("parity", e.parity, r.parity_difference, "digit.onnx", "weights.safetensors"),
        _parity("picture parity", seen, r.parity_difference, "picture.onnx", "digit.onnx"),
        _share("pictures", pictures.correct, r.picture_floor, "pictures"),
        _share("worst kind of picture", of_kind, r.picture_kind_floor, f"pictures {kind}"),
        _share("blank pages", pictures.blank, r.blank_floor, "blank pages"),
        _loss("champion", champion, ours.correct, r.loss_to_champion_points),
        _loss("best", e.best.correct if e.best else None, ours.correct, r.loss_to_best_points),
        _loss("champion on pictures", drawn, pictures.correct, r.loss_to_champion_picture_points),
        _corruptions(ours, e.champion, "champion", r.corruption_excess_points),
        _corruptions(ours, e.best, "best", r.corruption_excess_points),
        _size(ours, e.champion, r.size_ratio),
        _latency("images", e.images_time, r.latency_ratio),
        _latency("a picture", e.picture_time, r.latency_ratio),
    )
    return Verdict(checks, correct=int(ours.correct.sum()), n=len(ours.correct))


def refuse(problem: str) -> Verdict:
    """Refuse a bundle that is damaged or does not compute: there is nothing to measure."""
    why = printable(problem)  # which may quote the bundle
    return Verdict((Check("whole", "not", "its manifest and stored answers", False, why),))


# ---- one function for each rule; a comparison with NaN is false, so NaN is refused


def _check(rule: str, measured: str, against: str, passed: bool, why: str) -> Check:
    return Check(rule, measured, against, passed, "" if passed else why)


def _not_compared(rule: str, with_what: str = "champion") -> Check:
    return Check(rule, "not compared", f"no {with_what}", passed=True)


def _parameters(candidate: Measured, limit: int) -> Check:
    n = candidate.parameters
    why = f"{n:,} parameters are {n - limit + 1:,} too many"
    return _check("parameters", f"{n:,}", f"fewer than {limit:,}", n < limit, why)


def _share(rule: str, correct: NDArray[np.bool_], limit: float, of_what: str) -> Check:
    right, n = int(correct.sum()), len(correct)
    measured = f"{right / n:.2%} of {n:,} {of_what} ({interval(*wilson_interval(right, n))})"
    allowed = math.floor((1 - limit) * n + 1e-9)
    why = f"{n - right:,} of {n:,} {of_what} are wrong; {allowed:,} may be"
    return _check(rule, measured, f"at least {limit:.2%}", right / n >= limit, why)


def _claims(claims: Claims, limit: float) -> Check:
    false, n = claims.false(limit), len(claims.figures)
    measured = f"{n - len(false)} of {n} figures of the manifest are true"
    whys = [f"claims {c.name} {c.claimed:.6g}, measured {c.measured:.6g}" for c in false]
    why = claims.problem or f"its manifest {'; '.join(whys)}"
    against = f"within {limit:g} of what is measured"
    return _check("claims", measured, against, n > 0 and not false, why)


def _calibration(candidate: Measured, limit: float) -> Check:
    error = candidate.calibration_error
    measured = f"expected calibration error {error:.4f}"
    why = f"its confidence is off by {error * 100:.1f} points on average"
    return _check("calibration", measured, f"at most {limit:g}", error <= limit, why)


def _parity(rule: str, parity: Parity, limit: float, graph: str, network: str) -> Check:
    measured = f"probabilities within {parity.difference:.1g} on {parity.n:,} images"
    why = f"{graph} is not the network of {network}; export the run again"
    return _check(rule, measured, f"within {limit:g} of {network}", parity.difference <= limit, why)


def _loss(
    name: str, theirs: NDArray[np.bool_] | None, ours: NDArray[np.bool_], margin: float
) -> Check:
    """Non-inferiority: even the least favourable end of the interval is under the margin."""
    rule = f"not worse than {name}"
    if theirs is None:
        return _not_compared(rule, name.split()[0])
    gain, most, n = paired_difference(theirs, ours), largest_loss_points(theirs, ours), len(ours)
    lost, won = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    ends = points_interval(gain.low, gain.high)
    measured = f"{points(gain.difference)} points ({ends}; {lost} answers lost, {won} won)"
    against = f"a loss of {margin:g} points is ruled out"
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
