"""An old job that runs again does not put old work in the place of newer."""

from __future__ import annotations

from pathlib import Path

import pytest
from releases import RecordingGate, Run, git, published, seal

from mnistnet.errors import RegistryError
from mnistnet.registry.publish import publish


@pytest.fixture
def commits(clone: Path) -> list[str]:
    """Three commits of the source in the clone: one, the next one, and one next to that."""
    names = []
    for message, parents in (("1", []), ("2", ["-p", "HEAD"]), ("3", ["-p", "HEAD~1"])):
        names.append(
            git(clone, "commit-tree", git(clone, "mktree", given=""), *parents, "-m", message)
        )
        git(clone, "update-ref", "HEAD", names[min(1, len(names) - 1)])
    return names


def _trained_from(bundle: Path, commit: str, *, dirty: bool = False) -> Path:
    return seal(bundle, source={"commit": commit, "dirty": dirty})


@pytest.mark.usefixtures("clone")
def test_a_bundle_that_another_one_replaced_is_published_again_only_with_reinstate(
    registry: Path, ada: Path, bob: Path, run: Run
) -> None:
    gate = RecordingGate()
    publish(ada, gate=gate)
    publish(bob, gate=gate)
    code, _, err = run("publish", ada)
    assert code == 2
    assert "was published as v1 already, and the champion is v2 now" in err
    assert gate.champions == [None, "ada"]  # it is not even asked
    assert published(registry) == ["ada", "bob"]
    assert publish(ada, gate=gate, reinstate=True).version == 3
    assert published(registry) == ["ada", "bob", "ada"]


def test_a_bundle_from_an_earlier_commit_than_the_champions_is_published_only_with_reinstate(
    commits: list[str], registry: Path, ada: Path, bob: Path, cleo: Path
) -> None:
    first, second, another = commits
    gate = RecordingGate()
    publish(_trained_from(ada, second), gate=gate)
    with pytest.raises(RegistryError, match=f"by commit {first[:12]}, and the champion v1"):
        publish(_trained_from(bob, first, dirty=True), gate=gate, dry_run=True)
    assert publish(_trained_from(cleo, another), gate=gate).version == 2
    assert publish(bob, gate=gate, reinstate=True).version == 3
    assert published(registry) == ["ada", "cleo", "bob"]


def test_what_counts_of_weights_that_were_exported_again_is_the_commit_of_the_export(
    commits: list[str], registry: Path, ada: Path, bob: Path
) -> None:
    inputs = dict.fromkeys(("code", "versions", "all"), "ab" * 32)
    for bundle, commit in ((ada, commits[1]), (bob, commits[0])):
        source = {"commit": commit, "dirty": False}
        record = {"source": source, "versions": {}, "inputs": inputs}
        seal(_trained_from(bundle, commits[0]), export=record)
    gate = RecordingGate()
    publish(ada, gate=gate)
    with pytest.raises(RegistryError, match="which came later"):
        publish(bob, gate=gate)
    assert f"Source-Commit: {commits[1]}" in git(registry, "log", "--format=%B", "models")


def test_an_earlier_commit_loses_a_race_against_a_later_one(
    commits: list[str], registry: Path, ada: Path, bob: Path
) -> None:
    _trained_from(ada, commits[0])
    _trained_from(bob, commits[1])

    def overtaken(line: str) -> None:
        if line == "pushing v1":
            publish(bob, gate=RecordingGate())

    with pytest.raises(RegistryError, match="which came later"):
        publish(ada, gate=RecordingGate(), log=overtaken)
    assert published(registry) == ["bob"]


def test_the_same_commit_and_one_that_the_clone_does_not_know_are_not_earlier(
    commits: list[str], registry: Path, ada: Path, bob: Path, cleo: Path
) -> None:
    gate = RecordingGate()
    publish(_trained_from(ada, commits[1]), gate=gate)
    publish(_trained_from(bob, commits[1]), gate=gate)
    publish(_trained_from(cleo, "0" * 40), gate=gate)
    assert published(registry) == ["ada", "bob", "cleo"]
