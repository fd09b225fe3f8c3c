"""The gate's verdict: one check for each rule, as a table, Markdown or JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mnistnet.text import markdown_table, table

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
