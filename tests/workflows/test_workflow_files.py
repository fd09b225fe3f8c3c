"""What the workflow files promise of rights and origins; and ci.yml's training, run by act."""

from __future__ import annotations

import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from forge import Forge

from mnistnet.cli import cli

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
        *("fingerprint", "pull", "publish", "publish", "pull")
    ]
    assert "--dry-run" in trusted[2]


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


def _setups(job: dict[str, Any]) -> list[dict[str, str]]:
    return [s["with"] for s in job["steps"] if "setup-python" in s.get("uses", "")]


def test_what_is_installed_is_cached_by_what_names_it() -> None:
    """A cache is kept as it was first written: jobs that install other things need another."""
    seen = set()
    for _, job in _jobs():
        commands = "\n".join(step.get("run", "") for step in job["steps"])
        locked = re.search(r"LOCK=(\S+)", commands)
        unlocked = "pyproject.toml" if "EXTRAS=deliver\n" in commands else "constraints.txt"
        names = locked[1] if locked else unlocked
        for setup in _setups(job):
            assert (setup["cache"], setup["cache-dependency-path"]) == ("pip", names)
            seen.add(names)
    assert len(seen) == 3


def test_where_torch_is_installed_it_comes_without_cuda_in_forks_too() -> None:
    address = "${{ vars.PIP_EXTRA_INDEX_URL || 'https://download.pytorch.org/whl/cpu' }}"
    installing = 0
    for path in FILES:
        document = _read(path)
        for job in document["jobs"].values():
            (paths,) = {s["cache-dependency-path"] for s in _setups(job)} or {None}
            env = document["env"] | job.get("env", {})
            installs = paths == "constraints.txt"
            installing += installs
            if paths:
                assert env.get("PIP_EXTRA_INDEX_URL") == (address if installs else None), path
    assert installing == 8


def test_whatever_publishes_has_the_history_that_tells_old_work_from_new() -> None:
    publishing = [
        job
        for _, job in _jobs()
        if any("mnistnet publish" in step.get("run", "") for step in job["steps"])
    ]
    assert len(publishing) >= 2
    for job in publishing:
        assert job["steps"][0]["with"]["fetch-depth"] == 0


def test_a_bundle_is_verified_wherever_it_arrives() -> None:
    arrivals = 0
    for _, job in _jobs():
        for step, following in pairwise(job["steps"]):
            arrives = "download-artifact" in step.get("uses", "")
            if arrives and step["with"]["path"] == "candidate":
                arrivals += 1
                assert following["run"] == ".venv/bin/mnistnet verify candidate"
    assert arrivals == 2  # where it is signed, and where it is published


@pytest.mark.slow
def test_a_change_is_trained_and_gated_and_its_summary_has_the_gates_table(forge: Forge) -> None:
    run = forge.run("ci.yml", job="train")
    assert run.passed, run.log
    assert run.jobs == {"Train and gate": True}
    assert re.search(r"- Accuracy: \d+\.\d\d%", run.summary)
    assert "The bundle **passes all 18 rules**." in run.summary
    assert "| pass | accuracy |" in run.summary
