"""Write RECORDS.md from records.json: every figure that we claim, how sure it is, and its command.

    python benchmarks/records.py            # after a measurement was entered in records.json

A record has the fields of `Record`. A newer measurement of the same thing comes after the older,
which stays: RECORDS.md shows the last one first, and what was measured before below it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
INTRODUCTION = """\
# Records

Every figure that the README or a document claims, with its spread, its n, and the command that
measures it. Written by `python benchmarks/records.py` from `records.json`. What was tried on the
way, and what did not help: [LOG.md](LOG.md).
"""


@dataclass(frozen=True)
class Record:
    """One measurement.

    Attributes:
        what: what was measured; the same words for each measurement of the same thing.
        figure: the value with its unit, as the README quotes it.
        spread: an interval, quartiles or a range with its name, and the n that it is of.
        command: gives the figure, from the project's root.
        date: of the measurement, ISO 8601.
        commit: that was measured, abbreviated.
        machine: processor, cores, and who else used them.
    """

    what: str
    figure: str
    spread: str
    command: str
    date: str
    commit: str
    machine: str


def read_records() -> list[Record]:
    """Read records.json, oldest first."""
    text = (HERE / "records.json").read_text(encoding="utf-8")
    return [Record(**fields) for fields in json.loads(text)]


def current(records: list[Record]) -> list[Record]:
    """Return the last measurement of each thing, in the order in which things first appear."""
    return list({record.what: record for record in records}.values())


def render(records: list[Record]) -> str:
    """Return RECORDS.md: a table of current figures, and one of those that they replaced."""
    now = current(records)
    before = [record for record in records if record not in now]
    text = INTRODUCTION + "\n" + _table(now)
    return text + "\n## Before\n\n" + _table(before) if before else text


def _table(records: list[Record]) -> str:
    head = (
        "| what | figure | spread, n | date, commit, machine | command |\n|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {r.what} | {r.figure} | {r.spread} | {r.date}, {r.commit}, {r.machine}"
        f" | `{r.command}` |\n"
        for r in records
    )


if __name__ == "__main__":
    (HERE / "RECORDS.md").write_text(render(read_records()), encoding="utf-8")
