"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mnistnet.cli import VERBS
from mnistnet.model.network import MnistNet, parameter_count

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_file_it_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_make_target_and_every_verb_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets
    verbs = set(re.findall(r"^(?:\$ )?mnistnet ([a-z]+)", README, re.MULTILINE))
    assert verbs <= set(VERBS)
    assert verbs


def test_its_table_of_layers_adds_up_to_the_network() -> None:
    rows = re.findall(
        r"^\| (?:Conv|MaxPool|Linear).*\| ([\d,]+(?: \+ [\d,]+)?) \|$", README, re.MULTILINE
    )
    numbers = [int(n.replace(",", "")) for row in rows for n in row.split(" + ")]
    assert sum(numbers) == parameter_count(MnistNet()) == 20_826


@pytest.mark.parametrize("target", re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
def test_make_help_lists_each_target_with_a_line(target: str) -> None:
    assert re.search(rf"^{target}:.*## \S", MAKEFILE, re.MULTILINE)
