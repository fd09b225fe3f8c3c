"""Races of publishers, and publishers that are killed: real processes, a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from git_server import GitServer
from releases import RecordingGate, git, make_bundle, published, refs, verdict_line, write_script

from mnistnet.errors import RegistryError
from mnistnet.registry.publish import publish, rollback

PUBLISHER = str(Path(__file__).with_name("publisher.py"))
GIT = shutil.which("git")

# Stands before git on the PATH, and kills who called it: before or after a certain step of it.
KILLER = """
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


@pytest.mark.slow
def test_four_publishers_at_once_get_four_versions_each_compared_with_the_one_before(
    registry: Path, server: GitServer, tmp_path: Path
) -> None:
    names = ["ada", "bob", "cleo", "dora"]
    meeting = tmp_path / "meeting"  # at first, all decide against the same champion: none
    meeting.mkdir()
    publishers = [
        _start(server.url("registry.git"), make_bundle(tmp_path, name), meeting, str(len(names)))
        for name in names
    ]
    printed = [publisher.communicate()[0].strip() for publisher in publishers]
    assert sorted(printed) == [f"published {n}" for n in (1, 2, 3, 4)]
    titles = published(registry)
    assert sorted(titles) == names
    for i, (before, title) in enumerate(zip([None, *titles], titles, strict=False), 1):
        message = git(registry, "log", "-1", "--format=%B", f"model/v{i}")
        assert message.split("\n\n")[1] == verdict_line(title, before)


@pytest.mark.usefixtures("clone")
def test_the_loser_of_a_race_may_be_refused_against_the_new_champion(
    registry: Path, ada: Path, bob: Path
) -> None:
    gate = RecordingGate()

    def overtaken(line: str) -> None:
        if line == "pushing v1":
            publish(bob, gate=RecordingGate())
            gate.passes = False

    done = publish(ada, gate=gate, log=overtaken)
    assert done.outcome == "refused"
    assert gate.champions == [None, "bob"]
    assert published(registry) == ["bob"]


@pytest.mark.usefixtures("clone")
def test_an_overtaken_rollback_is_an_error(three: Path, dora: Path) -> None:
    def overtaken(line: str) -> None:
        if line.startswith("pushing"):
            publish(dora, gate=RecordingGate())

    with pytest.raises(RegistryError, match="somebody published meanwhile"):
        rollback(1, log=overtaken)
    assert published(three) == ["ada", "bob", "cleo", "dora"]


def _killed(registry: Path, bundle: Path, folder: Path, verb: str, when: str) -> list[str]:
    """Publish, be killed, and look at what the remote holds."""
    wrapper = write_script(folder / "bin" / "git", KILLER)
    path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    tricks = {"PATH": path, "REAL_GIT": str(GIT), "KILL_AT": verb, "KILL_WHEN": when}
    tricks["TMPDIR"] = str(folder)  # who is killed does not clean up
    publisher = _start(str(registry), bundle, **tricks)
    publisher.communicate()
    assert publisher.returncode == -9
    return published(registry)


READING = ["remote", "config", "init", "var", "ls-remote", "fetch", "log", "cat-file"]
WRITING = ["hash-object", "mktree", "commit-tree", "tag"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("verb", READING + WRITING)
def test_a_publisher_killed_before_the_push_leaves_nothing_and_the_next_one_works(
    three: Path, dora: Path, tmp_path: Path, verb: str, when: str
) -> None:
    assert _killed(three, dora, tmp_path, verb, when) == ["ada", "bob", "cleo"]
    assert publish(dora, remote=str(three), gate=RecordingGate()).version == 4
    assert published(three) == ["ada", "bob", "cleo", "dora"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.slow
@pytest.mark.parametrize(("when", "outcome"), [("before", "published"), ("after", "unchanged")])
def test_a_publisher_killed_at_the_push_has_published_or_has_not(
    three: Path, dora: Path, tmp_path: Path, when: str, outcome: str
) -> None:
    there = _killed(three, dora, tmp_path, "push", when)
    assert there == ["ada", "bob", "cleo", "dora"][: 3 if when == "before" else 4]
    done = publish(dora, remote=str(three), gate=RecordingGate())
    assert (done.outcome, done.version) == (outcome, 4)
    assert published(three) == ["ada", "bob", "cleo", "dora"]


@pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")
@pytest.mark.slow
@pytest.mark.parametrize("hook", ["pre-receive", "update", "post-receive"])
def test_a_publisher_killed_while_the_remote_is_at_work_leaves_all_or_nothing(
    three: Path, dora: Path, tmp_path: Path, hook: str
) -> None:
    """The remote kills the publisher itself, during the push, which goes on or not."""
    pid = tmp_path / "pid"
    commands = f"kill -KILL $(cat '{pid}')\ncat > /dev/null"
    script = write_script(three / "hooks" / hook, commands)
    publisher = _start(str(three), dora, TMPDIR=str(tmp_path))
    pid.write_text(str(publisher.pid), encoding="utf-8")  # long before it pushes
    publisher.communicate()
    assert publisher.returncode == -9
    script.unlink()
    done = publish(dora, remote=str(three), gate=RecordingGate())
    assert done.version == 4
    assert done.outcome in ("published", "unchanged")
    assert published(three) == ["ada", "bob", "cleo", "dora"]
    assert len(refs(three)) == 5


@pytest.mark.usefixtures("clone")
def test_a_branch_that_is_reset_meanwhile_is_a_race_too(three: Path, dora: Path) -> None:
    gate = RecordingGate()

    def undone(line: str) -> None:
        if line.startswith("pushing") and gate.champions == ["cleo"]:
            git(three, "update-ref", "refs/heads/models", "refs/heads/models~1")

    assert publish(dora, gate=gate, log=undone).version == 4
    assert gate.champions == ["cleo", "bob"]


@pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")
@pytest.mark.usefixtures("clone")
def test_a_remote_that_takes_the_branch_but_not_the_tag_gets_neither(
    three: Path, dora: Path
) -> None:
    write_script(three / "hooks" / "update", 'case "$1" in refs/tags/*) exit 1; esac')
    with pytest.raises(RegistryError, match="refuses v4"):
        publish(dora, gate=RecordingGate())
    assert published(three) == ["ada", "bob", "cleo"]
