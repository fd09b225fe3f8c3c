"""Pushes to a repository over HTTP, and what the real release.yml makes of them, run by act."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from forge import TOKEN
from releases import git, refs

from mnistnet.registry.publish import rollback
from mnistnet.registry.read import history

if TYPE_CHECKING:
    from forge import Forge, Run

pytestmark = pytest.mark.slow

DECIDE, TRAIN, SIGN = "Is there anything to train?", "Train and gate", "Sign"
PUBLISH, PAGE = "Publish", "Deploy the page"


def _registry(forge: Forge) -> dict[str, str]:
    """The refs that releases are kept in."""
    return {name: at for name, at in refs(forge.repository).items() if name != "refs/heads/main"}


def _recipe(**changes: float) -> str:
    return json.dumps({"name": "few", "epochs": 4, "threads": 1} | changes)


def test_a_pushed_commit_is_trained_gated_published_and_shown(forge: Forge, first_run: Run) -> None:
    assert first_run.passed, first_run.log
    assert first_run.jobs == dict.fromkeys((DECIDE, TRAIN, SIGN, PUBLISH, PAGE), True)
    there = _registry(forge)
    assert list(there) == ["refs/heads/models", "refs/tags/model/v1"]
    assert len(set(there.values())) == 1
    message = git(forge.repository, "log", "-1", "--format=%B", "models")
    assert f"Source-Commit: {git(forge.repository, 'rev-parse', 'main')}" in message
    materials = json.loads(git(forge.repository, "show", "models:sbom.cdx.json"))
    assert "torch" in [component["name"] for component in materials["components"]]
    assert (forge.site / "report.html").stat().st_size > 10_000
    assert TOKEN not in first_run.log


def test_the_summary_has_the_accuracy_the_gate_and_what_was_not_done(first_run: Run) -> None:
    assert "nothing is published yet on branch models" in first_run.summary
    assert re.search(r"- Accuracy: \d+\.\d\d% \(95% interval", first_run.summary)
    assert "| pass | not worse than champion |" in first_run.summary
    assert "candidate: published as v1, the first\n" in first_run.summary
    assert "candidate: not signed; no identity token is available here" in first_run.summary


@pytest.mark.usefixtures("first_run")
def test_a_push_that_changes_nothing_of_what_the_weights_depend_on_trains_nothing(
    forge: Forge,
) -> None:
    before = _registry(forge)
    forge.push({"README.md": "# Digits, with a typo mended\n"})
    run = forge.run("release.yml")
    assert run.passed, run.log
    assert run.jobs == {DECIDE: True}
    same = "v1: was trained from the same inputs as here; there is nothing to train\n"
    assert same in run.summary
    assert _registry(forge) == before


@pytest.mark.usefixtures("first_run")
def test_a_worse_model_is_refused_with_the_reason_and_nothing_is_touched(forge: Forge) -> None:
    before = _registry(forge)
    forge.push({"recipe.json": _recipe(learning_rate=0.0001)})
    run = forge.run("release.yml")
    assert not run.passed
    assert run.jobs == {DECIDE: True, TRAIN: False}, run.log
    assert r"recipe: learning\_rate was 0.01, is 0.0001" in run.summary
    assert re.search(r"\| REFUSED \| not worse than champion \| .*loss", run.summary), run.summary
    assert "candidate: refused; the champion stays v1" in run.summary
    assert _registry(forge) == before


@pytest.mark.usefixtures("first_run")
def test_a_better_model_replaces_it_and_is_not_published_again_after_a_rollback(
    forge: Forge,
) -> None:
    forge.push({"recipe.json": _recipe(epochs=8)})
    second = forge.run("release.yml")
    assert second.jobs.get(PUBLISH), second.log
    assert [r.author for r in history(remote=forge.own_url).releases] == ["github-actions[bot]"] * 2
    assert rollback(1, remote=forge.own_url).version == 3
    run = forge.run("release.yml")
    assert run.jobs == {DECIDE: True, TRAIN: False}, run.log
    assert "v3 withdrew this model by a rollback" in run.summary
