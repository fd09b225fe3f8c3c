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

    def summary(self) -> str:
        """Return it in one line."""
        reasons = "; ".join(f"{c.rule}: {c.why}" for c in self.checks if not c.passed)
        return f"{_outcome(self.checks)}: {reasons}" if reasons else _outcome(self.checks)

    def table(self, *, markdown: bool = False) -> str:
        """Lay out the checks, a line each, for a terminal or for a job's summary."""
        if markdown:
            return _markdown_table(self.checks)
        rows = [(STATES[c.passed], c.rule, c.measured, c.against) for c in self.checks]
        lines = []
        for line, check in zip(table(rows), self.checks, strict=True):
            lines += [line, f"         └ {check.why}"] if check.why else [line]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": self.passed, "summary": self.summary(), "checks": checks}


def _outcome(checks: tuple[Check, ...]) -> str:
    refused = sum(not check.passed for check in checks)
    if refused:
        return f"refused by {refused} of {len(checks)} rules"
    return f"passes all {len(checks)} rules"


def _markdown_table(checks: tuple[Check, ...]) -> str:
    # A reason may quote a hostile bundle, so every cell is escaped.
    head = [f"The bundle **{_outcome(checks)}**.", ""]
    rows = [(STATES[c.passed], c.rule, c.measured, c.against, c.why) for c in checks]
    return "\n".join([*head, *markdown_table(("", "rule", "measured", "against", "why not"), rows)])
