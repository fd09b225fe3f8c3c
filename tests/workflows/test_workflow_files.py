"""What the workflow files promise of rights and origins; and ci.yml's training, run by act."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from mnistnet.cli import cli

if TYPE_CHECKING:
    from forge import Forge

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
MAKEFILE, CONSTRAINTS, LOCK, PYPROJECT = (
    (FOLDER.parents[1] / name).read_text(encoding="utf-8")
    for name in ("Makefile", "constraints.txt", "requirements-publish.txt", "pyproject.toml")
)
# One command with plain words and whole variables; what it says may also go into the summary.
ONE_COMMAND = re.compile(
    r"(?P<command>(?:make|\.venv/bin/(?:mnistnet|cyclonedx-py))(?: (?:[\w./=,-]+|\"\$[A-Z_]+\"))+)"
    r"(?: 2>&1)?(?: \| tee -a \"\$GITHUB_STEP_SUMMARY\")?"
)


def _read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def _jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(name, job) for path in FILES for name, job in _read(path)["jobs"].items()]


def _commands() -> list[str]:
    """Every `run:` of both files, without its way into the summary."""
    found = []
    for _, job in _jobs():
        for step in job["steps"]:
            if words := step.get("run"):
                match = ONE_COMMAND.fullmatch(words.strip())
                assert match, f"more, or other, than one mnistnet or make command: {words}"
                found.append(match["command"])
    return found


def test_every_step_is_one_mnistnet_or_make_command_that_a_person_can_run_too() -> None:
    commands = _commands()
    assert len(commands) >= 15
    for command in commands:
        program, name, *words = shlex.split(command)
        if program == "make":
            assert re.search(rf"^{name}:", MAKEFILE, re.MULTILINE), command
            assert all(re.match(r"[A-Z]+=", word) for word in words), command
        elif program.endswith("mnistnet"):
            verb = cli.get_command(click.Context(cli), name)
            assert verb, command
            verb.make_context(name, words)  # raises for wrong options


@pytest.mark.parametrize(
    "words",
    [
        "make test; make check",
        "make test && make check",
        "if make test; then make check; fi",
        ".venv/bin/python -c pass",
        '.venv/bin/mnistnet publish "$(cat name)"',
        ".venv/bin/mnistnet history > history",
        ".venv/bin/mnistnet history || true",
        '.venv/bin/mnistnet history | tee -a "$GITHUB_STEP_SUMMARY" | cat',
    ],
)
def test_what_is_more_than_one_command_would_be_seen(words: str) -> None:
    assert ONE_COMMAND.fullmatch(words) is None


def test_only_publishing_may_write_to_the_repository() -> None:
    assert [_read(path)["permissions"] for path in FILES] == [{}] * len(FILES)
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
        *("fingerprint", "publish", "publish")
    ]
    assert "--dry-run" in trusted[1]
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


def test_the_publishing_job_installs_pinned_packages_by_their_hashes() -> None:
    (job,) = (job for name, job in _jobs() if name == "publish")
    installs = [step["run"] for step in job["steps"] if "install" in step.get("run", "")]
    assert installs == ["make install LOCK=requirements-publish.txt"]
    locked = re.findall(r"^([\w-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", LOCK, re.M)
    pins = dict(re.findall(r"^(\S+)==(\S+)$", CONSTRAINTS, re.M))
    assert len(locked) == LOCK.count("==")
    assert {name: pins.get(name, version) for name, version in locked} == dict(locked)
    base = tomllib.loads(PYPROJECT)["project"]["dependencies"]
    assert {re.split(r"[<>=]", words)[0] for words in base} <= dict(locked).keys()


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
