"""The README and the documents name files, verbs, targets and layers that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mnistnet.cli import VERBS
from mnistnet.model.architecture import parameter_count
from records import current, read_records, render

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs" / "TRAINING.md").read_text(encoding="utf-8")
DOCS = [file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").glob("*.md")]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", *DOCS])
def test_every_file_that_a_document_links_to_exists(file: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", (ROOT / file).read_text(encoding="utf-8"))
    assert links or file in DOCS
    for link in links:
        assert ((ROOT / file).parent / link).exists(), link


def test_every_make_target_and_every_verb_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets
    verbs = set(re.findall(r"^(?:\$ )?mnistnet ([a-z]+)", README, re.MULTILINE))
    assert verbs <= set(VERBS)
    assert verbs


def test_the_documented_table_of_layers_adds_up_to_the_network() -> None:
    rows = re.findall(
        r"^\| (?:Conv|MaxPool|Linear).*\| ([\d,]+(?: \+ [\d,]+)?) \|$", TRAINING, re.MULTILINE
    )
    numbers = [int(n.replace(",", "")) for row in rows for n in row.split(" + ")]
    assert sum(numbers) == parameter_count() == 20_826


def test_every_figure_is_the_current_record_of_its_measurement() -> None:
    records = read_records()
    written = (ROOT / "benchmarks" / "RECORDS.md").read_text(encoding="utf-8")
    assert written == render(records), "run: python benchmarks/records.py"
    table = README.partition("## How good, how fast")[2]
    quoted = re.findall(r"^\| (.+?) \| (\d.+) \|$", table, re.MULTILINE)
    assert quoted
    assert set(quoted) <= {(r.what, f"{r.figure} ({r.spread})") for r in current(records)}
