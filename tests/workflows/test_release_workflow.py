"""Pushes to a repository over HTTP, and what the real release.yml makes of them, run by act."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from forge import TOKEN, Forge, Run
from releases import git, refs

from mnistnet.registry.publish import rollback
from mnistnet.registry.read import history

pytestmark = pytest.mark.slow

DECIDE, MAKE = "Is there anything to train or to export?", "Train or export, and gate"
SIGN, PUBLISH, REPORT, PAGE = "Sign", "Publish", "Report on the champion", "Deploy the page"
ALL = (DECIDE, MAKE, SIGN, PUBLISH, REPORT, PAGE)
NOTHING_TO_DO = dict.fromkeys((DECIDE, REPORT, PAGE), True)
REFUSED = NOTHING_TO_DO | {MAKE: False}


def _registry(forge: Forge) -> dict[str, str]:
    """The refs that releases are kept in."""
    return {name: at for name, at in refs(forge.repository).items() if name != "refs/heads/main"}


def _manifest(forge: Forge, commit: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(git(forge.repository, "show", f"{commit}:manifest.json"))
    return found


def _recipe(**changes: float) -> str:
    return json.dumps({"name": "few", "epochs": 4, "threads": 1} | changes)


def test_a_pushed_commit_is_trained_gated_published_and_shown(forge: Forge, first_run: Run) -> None:
    assert first_run.passed, first_run.log
    assert first_run.jobs == dict.fromkeys(ALL, True)
    there = _registry(forge)
    assert list(there) == ["refs/heads/models", "refs/tags/model/v1"]
    assert len(set(there.values())) == 1
    message = git(forge.repository, "log", "-1", "--format=%B", "models")
    assert f"Source-Commit: {git(forge.repository, 'rev-parse', 'main')}" in message
    materials = json.loads(git(forge.repository, "show", "models:sbom.cdx.json"))
    assert "torch" in [component["name"] for component in materials["components"]]
    assert (forge.site / "report.html").stat().st_size > 10_000
    champion = git(forge.repository, "show", "models:report.json")
    (about,) = forge.site.glob("version-*/about.json")
    shown = json.loads(about.read_text(encoding="utf-8"))["metrics"]
    assert shown["correct"] == json.loads(champion)["accuracy"]["correct"]
    assert f'<base href="{about.parent.name}/">' in (forge.site / "index.html").read_text("utf-8")
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
    assert run.jobs == NOTHING_TO_DO
    same = "v1: was trained from the same inputs as here; there is nothing to train or to export\n"
    assert same in run.summary
    assert _registry(forge) == before


@pytest.mark.usefixtures("first_run")
def test_a_page_that_was_not_deployed_is_deployed_by_the_next_run(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(forge, "site", forge.site.with_name("unreachable") / "site")
        run = forge.run("release.yml")
    assert run.jobs == NOTHING_TO_DO | {PAGE: False}, run.log
    run = forge.run("release.yml")
    assert run.jobs == NOTHING_TO_DO, run.log
    assert (forge.site / "report.html").stat().st_size > 10_000


@pytest.mark.usefixtures("first_run")
def test_new_words_on_the_card_are_published_with_the_same_weights_and_no_training(
    forge: Forge,
) -> None:
    trained_by = git(forge.repository, "rev-parse", "main")
    code = "src/mnistnet/bundle/documents.py"
    text = git(forge.repository, "show", f"main:{code}") + "\n"
    forge.push({code: text.replace("single digits 0–9", "one digit at a time")})
    exported_by = git(forge.repository, "rev-parse", "main")
    run = forge.run("release.yml")
    assert run.jobs == dict.fromkeys(ALL, True), run.log
    assert "export: code: changed since commit" in run.summary
    assert "Batch: " not in run.log
    before, now = _manifest(forge, "models~1"), _manifest(forge, "models")
    assert before["files"]["weights.safetensors"] == now["files"]["weights.safetensors"]
    assert before["source"] == now["source"]
    assert (before["export"]["source"]["commit"], now["export"]["source"]["commit"]) == (
        before["source"]["commit"],
        exported_by,
    )
    assert trained_by != exported_by
    assert "one digit at a time" in git(forge.repository, "show", "models:README.md")
    assert f"Source-Commit: {exported_by}" in git(forge.repository, "log", "-1", "models")
    assert forge.run("release.yml").jobs == NOTHING_TO_DO


@pytest.mark.usefixtures("first_run")
def test_a_worse_model_is_refused_with_the_reason_and_nothing_is_touched(forge: Forge) -> None:
    before = _registry(forge)
    forge.push({"recipe.json": _recipe(learning_rate=0.0001)})
    run = forge.run("release.yml")
    assert not run.passed
    assert run.jobs == REFUSED, run.log
    assert r"recipe: learning\_rate was 0.01, is 0.0001" in run.summary
    assert re.search(r"\| REFUSED \| not worse than champion \| .*loss", run.summary), run.summary
    champion = len(history(remote=forge.own_url).releases)
    assert f"candidate: refused; the champion stays v{champion}" in run.summary
    assert _registry(forge) == before


@pytest.mark.usefixtures("first_run")
def test_a_better_model_replaces_it_and_is_not_published_again_after_a_rollback(
    forge: Forge,
) -> None:
    forge.push({"recipe.json": _recipe(epochs=8)})
    second = forge.run("release.yml")
    assert second.jobs.get(PUBLISH), second.log
    releases = history(remote=forge.own_url).releases
    assert [r.author for r in releases] == ["github-actions[bot]"] * len(releases)
    rolled_back = rollback(1, remote=forge.own_url).version
    assert rolled_back == len(releases) + 1
    run = forge.run("release.yml")
    assert run.jobs == REFUSED, run.log
    assert f"v{rolled_back} withdrew this model by a rollback" in run.summary
