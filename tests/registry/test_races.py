"""Races of publishers, and publishers that are killed: real processes, a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from releases import RecordingGate, git, make_bundle, published, refs, verdict_line

from mnistnet.errors import RegistryError
from mnistnet.registry.publish import publish, rollback

if TYPE_CHECKING:
    from git_server import GitServer

    from mnistnet.gate.verdict import Verdict

PUBLISHER = str(Path(__file__).with_name("publisher.py"))
GIT = shutil.which("git")

# Stands before git on the PATH, and kills who called it: before or after a certain step of it.
KILLER = """#!/bin/sh
case "$1" in
  "$KILL_AT")
    [ "$KILL_WHEN" = after ] && "$REAL_GIT" "$@"
    kill -KILL $PPID ;;
  *) exec "$REAL_GIT" "$@" ;;
esac
"""


def _start(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, PUBLISHER, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    )


def _race(registry: Path, url: str, folder: Path, names: list[str]) -> list[str]:
    """Publish bundles at once, at first all against the same champion.

    Returns:
        What each publisher prints.
    """
    meeting = folder / "meeting"
    meeting.mkdir()
    publishers = [
        _start(url, make_bundle(folder, name), meeting, str(len(names))) for name in names
    ]
    said = [publisher.communicate()[0].strip() for publisher in publishers]
    titles = published(registry)
    commits = git(registry, "rev-list", "--reverse", "models").split()
    for earlier, name, commit in zip([None, *titles], titles, commits, strict=False):
        message = git(registry, "log", "-1", "--format=%B", commit)
        assert message.split("\n\n")[1] in (verdict_line(name, earlier), "rollback to v1")
    return said


@pytest.mark.slow
def test_four_publishers_at_once_get_four_versions_each_compared_with_the_one_before(
    registry: Path, server: GitServer, tmp_path: Path
) -> None:
    names = ["ada", "bob", "cleo", "dora"]
    said = _race(registry, server.url("registry.git"), tmp_path, names)
    assert sorted(said) == [f"published {n}" for n in (1, 2, 3, 4)]
    assert sorted(published(registry)) == names


@pytest.mark.slow
def test_of_two_first_publishers_one_is_compared_with_the_other(
    registry: Path, tmp_path: Path
) -> None:
    said = _race(registry, str(registry), tmp_path, ["ada", "bob"])
    assert sorted(said) == ["published 1", "published 2"]


@pytest.mark.usefixtures("clone")
def test_the_loser_of_a_race_may_be_refused_against_the_new_champion(
    registry: Path, ada: Path, bob: Path
) -> None:
    class OvertakenGate(RecordingGate):
        """While it decides for the first time, somebody else publishes."""

        def __call__(self, candidate: Path, champion: Path | None, *, best: Path | None) -> Verdict:
            if champion is None:
                publish(bob, gate=RecordingGate())
            self.passes = champion is None
            return super().__call__(candidate, champion, best=best)

    gate = OvertakenGate()
    done = publish(ada, gate=gate)
    assert done.outcome == "refused"
    assert gate.champions == [None, "bob"]
    assert published(registry) == ["bob"]


@pytest.mark.usefixtures("clone")
def test_an_overtaken_rollback_is_an_error(three: Path, tmp_path: Path) -> None:
    dora = make_bundle(tmp_path, "dora")

    def overtaken(line: str) -> None:
        if line.startswith("pushing"):
            publish(dora, gate=RecordingGate())

    with pytest.raises(RegistryError, match="somebody published meanwhile"):
        rollback(1, log=overtaken)
    assert published(three) == ["ada", "bob", "cleo", "dora"]


def _killed(registry: Path, bundle: Path, folder: Path, verb: str, when: str) -> list[str]:
    """Publish, be killed, and look at what the remote holds."""
    wrapper = folder / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(KILLER, encoding="utf-8")
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    tricks = {"PATH": path, "REAL_GIT": str(GIT), "KILL_AT": verb, "KILL_WHEN": when}
    tricks["TMPDIR"] = str(folder)  # who is killed does not clean up
    publisher = _start(str(registry), bundle, **tricks)
    publisher.communicate()
    assert publisher.returncode == -9
    return published(registry)


READING = ["config", "init", "var", "ls-remote", "fetch", "log", "cat-file"]
WRITING = ["hash-object", "mktree", "commit-tree", "tag"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("verb", READING + WRITING)
def test_a_publisher_killed_before_the_push_leaves_nothing_and_the_next_one_works(
    three: Path, tmp_path: Path, verb: str, when: str
) -> None:
    dora = make_bundle(tmp_path, "dora")
    assert _killed(three, dora, tmp_path, verb, when) == ["ada", "bob", "cleo"]
    assert publish(dora, remote=str(three), gate=RecordingGate()).version == 4
    assert published(three) == ["ada", "bob", "cleo", "dora"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("when", "outcome"),
    [pytest.param("before", "published", marks=pytest.mark.slow), ("after", "unchanged")],
)
def test_a_publisher_killed_at_the_push_has_published_or_has_not(
    three: Path, tmp_path: Path, when: str, outcome: str
) -> None:
    dora = make_bundle(tmp_path, "dora")
    there = _killed(three, dora, tmp_path, "push", when)
    assert there == ["ada", "bob", "cleo", "dora"][: 3 if when == "before" else 4]
    done = publish(dora, remote=str(three), gate=RecordingGate())
    assert (done.outcome, done.version) == (outcome, 4)
    assert published(three) == ["ada", "bob", "cleo", "dora"]


@pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")
@pytest.mark.slow
@pytest.mark.parametrize("hook", ["pre-receive", "update", "post-receive"])
def test_a_publisher_killed_while_the_remote_is_at_work_leaves_all_or_nothing(
    three: Path, tmp_path: Path, hook: str
) -> None:
    """The remote kills the publisher itself, during the push, which goes on or not."""
    dora, pid = make_bundle(tmp_path, "dora"), tmp_path / "pid"
    script = three / "hooks" / hook
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\nkill -KILL $(cat '{pid}')\ncat > /dev/null\n", encoding="utf-8")
    script.chmod(0o755)
    publisher = _start(str(three), dora, TMPDIR=str(tmp_path))
    pid.write_text(str(publisher.pid), encoding="utf-8")  # long before it pushes
    publisher.communicate()
    assert publisher.returncode == -9
    script.unlink()
    done = publish(dora, remote=str(three), gate=RecordingGate())
    assert done.version == 4
    assert re.fullmatch("published|unchanged", done.outcome)
    assert published(three) == ["ada", "bob", "cleo", "dora"]
    assert len(refs(three)) == 5


@pytest.mark.usefixtures("clone")
def test_a_branch_that_is_reset_meanwhile_is_a_race_too(three: Path, tmp_path: Path) -> None:
    class UndoneGate(RecordingGate):
        """While it decides for the first time, somebody resets the branch."""

        def __call__(self, candidate: Path, champion: Path | None, *, best: Path | None) -> Verdict:
            if not self.champions:
                git(three, "update-ref", "refs/heads/models", "refs/heads/models~1")
            return super().__call__(candidate, champion, best=best)

    gate = UndoneGate()
    assert publish(make_bundle(tmp_path, "dora"), gate=gate).version == 4
    assert gate.champions == ["cleo", "bob"]


@pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")
@pytest.mark.usefixtures("clone")
def test_a_remote_that_takes_the_branch_but_not_the_tag_gets_neither(
    three: Path, tmp_path: Path
) -> None:
    hook = three / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\ncase "$1" in refs/tags/*) exit 1; esac\n', encoding="utf-8")
    hook.chmod(0o755)
    with pytest.raises(RegistryError, match="refuses v4"):
        publish(make_bundle(tmp_path, "dora"), gate=RecordingGate())
    assert published(three) == ["ada", "bob", "cleo"]
