"""What the workflow files promise of rights and origins; and ci.yml's training, run by act."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from forge import Forge

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
FILES = [FOLDER / name for name in ("ci.yml", "release.yml")]


def _read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def _jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(name, job) for path in FILES for name, job in _read(path)["jobs"].items()]


def test_only_publishing_may_write_to_the_repository() -> None:
    assert [_read(path)["permissions"] for path in FILES] == [{}, {}]
    writing = [(n, job) for n, job in _jobs() if job["permissions"].get("contents") == "write"]
    assert [(name, job["permissions"]) for name, job in writing] == [
        ("publish", {"contents": "write"})
    ]


def test_each_token_is_in_the_step_alone_that_needs_it() -> None:
    for path in FILES:
        document = _read(path)
        everywhere = str([document["env"], [job.get("env") for job in document["jobs"].values()]])
        assert "github.token" not in everywhere
    steps = [step for _, job in _jobs() for step in job["steps"]]
    trusted = [step["run"] for step in steps if "GH_TOKEN" in step.get("env", {})]
    assert [re.search(r"mnistnet ([a-z]+)", words)[1] for words in trusted] == [
        *("history", "pull", "publish", "publish")
    ]
    assert "--dry-run" in trusted[2]
    checkouts = [step for step in steps if "checkout" in step.get("uses", "")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)
    assert len(checkouts) >= 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_named_by_its_commit_and_says_which_version_that_is(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.fullmatch(r".*uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_every_job_ends_and_publishing_is_never_cut_off() -> None:
    assert all(0 < job["timeout-minutes"] <= 120 for _, job in _jobs())
    assert _read(FOLDER / "release.yml")["concurrency"]["cancel-in-progress"] is False


def test_a_bundle_is_verified_wherever_it_arrives() -> None:
    for _, job in _jobs():
        steps = [step.get("uses", step.get("run", "")) for step in job["steps"]]
        arrivals = [
            i
            for i, step in enumerate(job["steps"])
            if step.get("with", {}).get("path") == "candidate" and "download" in steps[i]
        ]
        for arrival in arrivals:
            assert steps[arrival + 1] == ".venv/bin/mnistnet verify candidate"
    assert arrivals == []  # the last job's, which shows the report alone


@pytest.mark.slow
def test_a_change_is_trained_and_gated_and_its_summary_has_the_gates_table(forge: Forge) -> None:
    run = forge.run("ci.yml", job="train")
    assert run.passed, run.log
    assert run.jobs == {"Train and gate": True}
    assert re.search(r"- Accuracy: \d+\.\d\d%", run.summary)
    assert "The bundle **passes all 13 rules**." in run.summary
    assert "| pass | accuracy |" in run.summary
