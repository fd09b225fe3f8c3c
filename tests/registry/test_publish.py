"""`publish`: the champion changes only through the gate, once for each bundle, whole or not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from releases import RecordingGate, git, make_bundle, published, refs, seal, sha256_of, verdict_line

from mnistnet.bundle.manifest import BESIDE
from mnistnet.errors import BundleError, RegistryError
from mnistnet.registry.publish import publish
from mnistnet.registry.read import history, pull

if TYPE_CHECKING:
    from pathlib import Path

    from git_server import GitServer

pytestmark = pytest.mark.usefixtures("clone")


def test_the_first_publication_creates_the_branch_and_the_next_ones_follow_it(
    registry: Path, ada: Path, bob: Path, cleo: Path
) -> None:
    gate = RecordingGate()
    versions = [publish(bundle, gate=gate).version for bundle in (bob, cleo, ada)]
    assert versions == [1, 2, 3]
    assert published(registry) == ["bob", "cleo", "ada"]
    assert gate.champions == [None, "bob", "cleo"]
    assert gate.bests == [None, None, "bob"]  # the best ever, where that is not the champion
    assert git(registry, "cat-file", "-t", "model/v1") == "tag"


def test_a_bundle_that_the_gate_refuses_is_not_published(three: Path, ada: Path) -> None:
    before = refs(three)
    done = publish(ada, gate=RecordingGate(passes=False))
    assert (done.outcome, done.version) == ("refused", None)
    assert refs(three) == before


def test_a_dry_run_says_what_would_happen_and_changes_nothing(registry: Path, ada: Path) -> None:
    done = publish(ada, gate=RecordingGate(), dry_run=True)
    assert (done.outcome, done.version) == ("possible", 1)
    assert refs(registry) == {}


def test_publishing_the_champions_own_bytes_changes_nothing(three: Path, cleo: Path) -> None:
    before = refs(three)
    gate = RecordingGate()
    done = publish(cleo, gate=gate)
    assert (done.outcome, done.version, gate.champions) == ("unchanged", 3, [])
    assert refs(three) == before


def test_a_damaged_bundle_is_refused_before_the_remote_is_asked(registry: Path, ada: Path) -> None:
    (ada / "digit.onnx").write_bytes(b"no graph")
    registry.rename(registry.with_name("gone"))
    with pytest.raises(BundleError, match=r"digit\.onnx"):
        publish(ada, gate=RecordingGate())


def test_what_lies_beside_a_bundle_is_published_and_pulled_with_it(
    registry: Path, ada: Path, tmp_path: Path
) -> None:
    for name in BESIDE:
        (ada / name).write_bytes(b"beside: " + name.encode())
    publish(ada, gate=RecordingGate())
    assert git(registry, "show", "models:model.sig") == "beside: model.sig"
    pull(None, tmp_path / "pulled")
    there, here = (
        {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in (ada, tmp_path / "pulled")
    )
    assert here == there
    (ada / "model.sig").write_bytes(b"of another day")
    assert publish(ada, gate=RecordingGate()).outcome == "unchanged"


def test_a_release_is_no_larger_than_a_megabyte_with_all_that_lies_beside_it(
    registry: Path, ada: Path
) -> None:
    room = 1_000_000 - sum(file.stat().st_size for file in ada.iterdir())
    (ada / "report.html").write_bytes(b" " * (room - 10))
    publish(ada, gate=RecordingGate(), dry_run=True)
    (ada / "sbom.cdx.json").write_bytes(b" " * 11)
    with pytest.raises(BundleError, match="has 1,000,001 bytes"):
        publish(ada, gate=RecordingGate())
    assert refs(registry) == {}


def test_a_commit_says_what_it_replaced_and_how_it_was_judged(three: Path, bob: Path) -> None:
    first, second, _ = git(three, "rev-list", "--reverse", "models").split()
    message = git(three, "log", "-1", "--format=%B", second)
    assert message.splitlines()[:3] == [
        "model v2: 99.10% of 10,000 images",
        "",
        verdict_line("bob", "ada"),
    ]
    trailers = git(three, "interpret-trailers", "--parse", given=message + "\n").splitlines()
    assert trailers[:4] == [
        "Version: v2",
        f"Replaces: v1 {first}",
        "Verdict: passes all 1 rules",
        "Accuracy: 9910 of 10000 test images",
    ]
    assert f"Bundle-SHA256: {sha256_of(bob)}" in trailers


def test_a_manifest_cannot_smuggle_a_line_into_the_commit(registry: Path, ada: Path) -> None:
    seal(
        ada,
        source={"commit": "abc\nVersion: v9", "dirty": False},
        metrics={"correct": "1\nWithdraws: v1", "n": 2, "judged_on": "test"},
    )
    publish(ada, gate=RecordingGate())
    message = git(registry, "log", "-1", "--format=%B", "models")
    assert "v9" not in message
    assert "Withdraws" not in message
    champion = history().champion
    assert champion is not None
    assert (champion.bundle.source, champion.bundle.accuracy) == (None, None)


def test_the_clone_is_left_as_it_is_dirty_detached_or_shallow(
    registry: Path, clone: Path, ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(2):
        (clone / "file").write_text(str(i), encoding="utf-8")
        git(clone, "add", "file")
        git(clone, "commit", "--quiet", "-m", str(i))
    git(clone, "push", "--quiet", "origin", "main")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", registry.as_uri(), str(shallow), "-b", "main")
    git(shallow, "checkout", "--quiet", "--detach")
    (shallow / "file").write_text("changed", encoding="utf-8")
    (shallow / "new").write_text("new", encoding="utf-8")
    git(shallow, "add", "new")
    monkeypatch.chdir(shallow)
    before = _everything_in(shallow)
    publish(ada, gate=RecordingGate())
    history()
    assert _everything_in(shallow) == before
    assert "refs/tags/model/v1" in refs(registry)


def _everything_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_no_clone_is_needed_where_the_remote_is_named_by_its_path(
    registry: Path, ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    publish(ada, remote="served/registry.git", gate=RecordingGate())
    assert published(registry) == ["ada"]


@pytest.mark.slow
def test_a_remotes_path_counts_from_the_clone_wherever_in_it_the_command_is_run(
    registry: Path, clone: Path, ada: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(clone, "remote", "set-url", "origin", "../served/registry.git")
    (clone / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(clone / "deep" / "down")
    publish(ada, gate=RecordingGate())
    assert published(registry) == ["ada"]


@pytest.mark.slow
def test_it_works_inside_a_hook_where_git_points_everything_to_another_repository(
    registry: Path, clone: Path, ada: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _everything_in(clone)
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(clone / ".git"))
        hook.setenv("GIT_INDEX_FILE", str(clone / ".git" / "index"))
        hook.setenv("GIT_OBJECT_DIRECTORY", str(clone / ".git" / "objects"))
        publish(ada, gate=RecordingGate())
    assert published(registry) == ["ada"]
    assert _everything_in(clone) == before


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")
def test_hooks_and_signing_of_the_users_own_are_not_asked(
    registry: Path, clone: Path, ada: Path, git_config: Path, tmp_path: Path
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("pre-push", "reference-transaction"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        (hooks / name).chmod(0o755)
    git(registry, "config", "core.hooksPath", "hooks")  # the remote has its own
    for setting in (("core.hooksPath", str(hooks)), ("tag.gpgSign", "true")):
        git(clone, "config", "--file", str(git_config), *setting)
    publish(ada, gate=RecordingGate())
    assert published(registry) == ["ada"]


def test_a_number_that_was_given_once_is_not_given_again(three: Path, tmp_path: Path) -> None:
    git(three, "update-ref", "refs/heads/models", "refs/heads/models~2")  # somebody took it back
    git(three, "update-ref", "refs/tags/model/latest", "refs/heads/models")
    gate = RecordingGate()
    assert publish(make_bundle(tmp_path, "dora"), gate=gate).version == 4
    assert gate.champions == ["ada"]


def test_a_branch_that_is_no_registry_is_left_alone(registry: Path, clone: Path, ada: Path) -> None:
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "Version: v1")
    git(clone, "push", "--quiet", "origin", "main:models")
    before = refs(registry)
    with pytest.raises(RegistryError, match="is no release"):
        publish(ada, gate=RecordingGate())
    assert refs(registry) == before


def test_an_answer_that_got_lost_is_no_second_release(
    three: Path, server: GitServer, tmp_path: Path
) -> None:
    server.loses_answers = 1
    dora = make_bundle(tmp_path, "dora")
    done = publish(dora, remote=server.url("registry.git"), gate=RecordingGate())
    assert server.loses_answers == 0
    assert (done.outcome, done.version) == ("published", 4)
    assert done.replaces == 3
    assert published(three) == ["ada", "bob", "cleo", "dora"]


def test_the_bundles_are_not_fetched_for_the_history_where_the_remote_can_leave_them_out(
    three: Path, server: GitServer, tmp_path: Path
) -> None:
    git(three, "config", "uploadpack.allowFilter", "true")
    url = server.url("registry.git")
    assert len(history(remote=url).releases) == 3
    assert server.sent_bytes < 50_000
    gate = RecordingGate()
    publish(make_bundle(tmp_path, "dora"), remote=url, gate=gate)
    assert (gate.champions, gate.bests) == (["cleo"], ["bob"])
    assert published(three) == ["ada", "bob", "cleo", "dora"]
