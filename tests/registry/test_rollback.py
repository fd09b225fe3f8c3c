"""`rollback`, `history`, `pull` and `diff`: what was published stays, and can be had again."""

from __future__ import annotations

from pathlib import Path

import pytest
from releases import (
    RecordingGate,
    git,
    make_bundle,
    published,
    refs,
    replace_champion,
    seal,
    sha256_of,
    title,
)

from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError, RegistryError
from mnistnet.provenance import Basis
from mnistnet.registry.publish import publish, rollback
from mnistnet.registry.read import changed_since_champion, history, pull
from mnistnet.registry.release import describe

pytestmark = pytest.mark.usefixtures("clone")


def test_a_rollback_is_a_new_version_with_the_old_ones_files(three: Path) -> None:
    before = refs(three)
    assert rollback(1, dry_run=True).outcome == "possible"
    assert refs(three) == before
    done = rollback(1)
    assert (done.outcome, done.version) == ("published", 4)
    assert published(three) == ["ada", "bob", "cleo", "ada"]
    assert git(three, "rev-parse", "model/v4^{tree}") == git(three, "rev-parse", "model/v1^{tree}")
    assert [rollback(version).outcome for version in (1, 4)] == ["unchanged", "unchanged"]
    assert len(published(three)) == 4


def test_a_withdrawn_bundle_is_published_again_only_with_reinstate(
    three: Path, bob: Path, cleo: Path
) -> None:
    rollback(1)
    with pytest.raises(RegistryError, match="v4 withdrew"):
        publish(bob, gate=RecordingGate())
    assert publish(bob, gate=RecordingGate(), reinstate=True).version == 5
    assert publish(bob, gate=RecordingGate()).outcome == "unchanged"
    with pytest.raises(RegistryError, match="v4 withdrew"):
        publish(cleo, gate=RecordingGate())
    assert published(three) == ["ada", "bob", "cleo", "ada", "bob"]


def test_going_back_and_forth_withdraws_nothing_older_than_the_target(
    three: Path, ada: Path, bob: Path
) -> None:
    rollback(1)
    rollback(2)
    state, bundles = history(), (describe(ada), describe(bob))
    assert [state.withdrawn_by(bundle) for bundle in bundles] == [None, None]
    assert published(three) == ["ada", "bob", "cleo", "ada", "bob"]


def test_a_withdrawn_model_with_another_card_is_still_withdrawn(three: Path, bob: Path) -> None:
    rollback(1)
    with (bob / "README.md").open("a", encoding="utf-8") as card:
        card.write("trained again from another commit\n")
    with pytest.raises(RegistryError, match="v4 withdrew"):
        publish(seal(bob), gate=RecordingGate())
    assert len(published(three)) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("three")
def test_a_withdrawn_bundle_is_not_the_best(tmp_path: Path) -> None:
    rollback(1)
    gate = RecordingGate()
    publish(make_bundle(tmp_path, "dora", correct=9800), gate=gate)
    publish(make_bundle(tmp_path, "eve", correct=9801), gate=gate)
    assert gate.bests == [None, "ada"]  # bob is better


@pytest.mark.usefixtures("three")
def test_pull_writes_the_champion_or_a_version(bob: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert str(pull(None, out)) == "v3"
    assert str(pull(2, out)) == "v2"  # in the place of v3
    verify(out)
    assert sha256_of(out) == sha256_of(bob)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(RegistryError, match="has no v9; its champion is v3"):
        pull(9, out)
    assert title(out) == "bob"


@pytest.mark.parametrize(
    ("problem", "drop", "add"),
    [
        ("no file of a bundle", "", "100644 blob {blob}\tevil.sh"),
        ("no file of a bundle", "README.md", "120000 blob {blob}\tREADME.md"),
        ("no file of a bundle", "README.md", "100755 blob {blob}\tREADME.md"),
        ("no file of a bundle", "", "040000 tree {tree}\tfolder"),
        ("is missing", "digit.onnx", ""),
        ("more than 1,000,000 bytes", "digit.onnx", "100644 blob {large}\tdigit.onnx"),
        ("SHA-256", "digit.onnx", "100644 blob {other}\tdigit.onnx"),
    ],
)
def test_a_release_that_is_not_exactly_one_bundle_is_not_pulled(
    three: Path, tmp_path: Path, problem: str, drop: str, add: str
) -> None:
    size = int(git(three, "cat-file", "-s", "models:digit.onnx"))
    names = {
        "blob": git(three, "rev-parse", "models:README.md"),
        "tree": git(three, "rev-parse", "models^{tree}"),
        "large": git(three, "hash-object", "-w", "--stdin", given="x" * 1_000_001),
        "other": git(three, "hash-object", "-w", "--stdin", given="x" * size),
    }
    entries = git(three, "ls-tree", "models").splitlines()
    kept = [line for line in entries if not line.endswith(f"\t{drop}")]
    listing = "\n".join([*kept, add.format(**names)]).strip()
    tree = git(three, "mktree", "--missing", given=f"{listing}\n")
    replace_champion(three, tree, git(three, "log", "-1", "--format=%B", "models"))
    with pytest.raises((RegistryError, BundleError), match=problem):
        pull(None, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises((RegistryError, BundleError), match=problem):
        changed_since_champion(Basis("", {}, {}, {}), Basis("", None, None, {}))


def test_a_damaged_champion_is_published_over_deliberately(
    three: Path, cleo: Path, dora: Path, tmp_path: Path
) -> None:
    message = git(three, "log", "-1", "--format=%B", "models")
    replace_champion(three, git(three, "rev-parse", "models~1^{tree}"), message)
    gate, advice = RecordingGate(), "mnistnet publish --ignore-damaged publishes over it"
    with pytest.raises(RegistryError, match=advice):
        pull(None, tmp_path / "out")
    with pytest.raises(RegistryError, match=advice):
        publish(dora, gate=gate)
    assert publish(cleo, gate=gate).outcome == "unchanged"
    assert publish(cleo, gate=gate, ignore_damaged=True).version == 4
    assert publish(dora, gate=gate, ignore_damaged=True).version == 5
    assert (gate.champions, gate.bests) == ([None, "cleo"], ["bob", "bob"])
    assert str(pull(4, tmp_path / "out")) == "v4"


def test_a_damaged_only_release_is_no_dead_end(registry: Path, ada: Path, bob: Path) -> None:
    publish(ada, gate=RecordingGate())
    message = git(registry, "log", "-1", "--format=%B", "models")
    replace_champion(registry, git(registry, "mktree", given=""), message, version=1)
    with pytest.raises(RegistryError, match=r"v1 fails verification .* --ignore-damaged"):
        publish(bob, gate=RecordingGate())
    gate = RecordingGate()
    assert publish(bob, gate=gate, ignore_damaged=True).version == 2
    assert (gate.champions, gate.bests) == ([None], [None])
    assert rollback(2).outcome == "unchanged"


def test_a_branch_whose_only_commit_is_no_release_is_begun_again(
    registry: Path, ada: Path, bob: Path
) -> None:
    publish(ada, gate=RecordingGate())
    replaced = git(registry, "commit-tree", "models^{tree}", given="something else")
    git(registry, "update-ref", "refs/heads/models", replaced)
    with pytest.raises(RegistryError, match="take it off the branch, or give --branch"):
        publish(bob, gate=RecordingGate())
    assert publish(bob, gate=RecordingGate(), branch="other").version == 2
    git(registry, "branch", "-D", "models")
    assert publish(bob, gate=RecordingGate()).version == 3


def test_a_moved_tag_is_an_error(three: Path) -> None:
    git(three, "tag", "--force", "model/v1", "model/v2^{commit}")
    with pytest.raises(RegistryError, match="tag model/v1 is not at"):
        history()


def test_a_deleted_tag_is_not_needed(three: Path, tmp_path: Path) -> None:
    git(three, "tag", "--delete", "model/v2")
    assert str(pull(2, tmp_path / "out")) == "v2"
