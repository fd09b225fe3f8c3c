"""`publish`: the champion changes only through the gate, once for each bundle, whole or not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from git_server import GitServer
from releases import (
    RecordingGate,
    Run,
    git,
    published,
    refs,
    replace_champion,
    seal,
    sha256_of,
    verdict_line,
    write_script,
)

from mnistnet.bundle.manifest import EXTRA_FILES
from mnistnet.errors import BundleError, RegistryError
from mnistnet.gate.checks import Verdict
from mnistnet.registry.publish import publish
from mnistnet.registry.read import history, pull
from mnistnet.registry.release import Accuracy, ReleasedBundle

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


def test_a_damaged_bundle_is_refused(registry: Path, ada: Path) -> None:
    (ada / "digit.onnx").write_bytes(b"no graph")
    registry.rename(registry.with_name("gone"))  # it is not even asked
    with pytest.raises(BundleError, match=r"digit\.onnx"):
        publish(ada, gate=RecordingGate())


def test_files_next_to_a_bundle_are_published_and_pulled_with_it(
    registry: Path, ada: Path, tmp_path: Path
) -> None:
    for name in EXTRA_FILES:
        (ada / name).write_bytes(b"content of " + name.encode())
    (ada / ".DS_Store").write_bytes(b"what a desktop leaves")
    publish(ada, gate=RecordingGate())
    (ada / ".DS_Store").unlink()
    assert git(registry, "show", "models:model.sig") == "content of model.sig"
    pull(None, tmp_path / "pulled")
    there, here = (
        {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in (ada, tmp_path / "pulled")
    )
    assert here == there
    (ada / "model.sig").write_bytes(b"of another day")
    assert publish(ada, gate=RecordingGate()).outcome == "unchanged"


def test_a_release_of_more_than_a_megabyte_is_refused(registry: Path, ada: Path) -> None:
    room = 1_000_000 - sum(file.stat().st_size for file in ada.iterdir())
    (ada / "report.html").write_bytes(b" " * (room - 10))
    publish(ada, gate=RecordingGate(), dry_run=True)
    (ada / "sbom.cdx.json").write_bytes(b" " * 11)
    with pytest.raises(BundleError, match="has 1,000,001 bytes"):
        publish(ada, gate=RecordingGate())
    assert refs(registry) == {}


def test_a_commit_records_the_replaced_release_and_the_gates_verdict(
    three: Path, bob: Path
) -> None:
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


def test_the_history_holds_what_the_gate_measured_and_not_what_the_manifest_claims(
    registry: Path, ada: Path, bob: Path
) -> None:
    """The manifest of ada claims 9,900 correct answers, that of bob 9,910."""
    publish(ada, gate=lambda *_, **__: Verdict((), correct=9950, n=10_000))
    publish(bob, gate=lambda *_, **__: Verdict((), correct=9801, n=10_000))
    gate = RecordingGate()
    publish(ada, gate=gate, reinstate=True)
    assert gate.bests == ["ada"]
    accuracies = [str(release.accuracy) for release in history().releases[:2]]
    assert accuracies == ["9950 of 10000 test images", "9801 of 10000 test images"]
    assert "98.01% of 10,000 images" in git(registry, "log", "-1", "--format=%s", "models~1")


OLD_MESSAGE = """model v3: back to v1

rollback to v1

Version: v3
Replaces: v2 {head}
Rollback-To: v1
Verdict: rollback to v1
Accuracy: 9947 of 10000 test images
Source-Commit: 876429e21c0b1fb2f7f8a9e4e5b4a3c2d1e0f9a8 with changes
Bundle-SHA256: {ones}
Model-SHA256: {twos}
Withdraws: v2 {threes}
Withdraws: v2 {fours}
"""


def _plant(registry: Path, message: str) -> str:
    """Put a commit with another message in the place of v3; return the commit of v2."""
    head, tree = git(registry, "rev-parse", "models~1", "models^{tree}").split()
    digests = {name: str(i) * 64 for i, name in enumerate(("ones", "twos", "threes", "fours"), 1)}
    replace_champion(registry, tree, message.format(head=head, **digests))
    return head


def test_a_release_is_read_as_earlier_versions_of_the_program_wrote_it(three: Path) -> None:
    head = _plant(three, OLD_MESSAGE)
    release = history().champion
    assert release is not None
    assert (release.version, release.author) == (3, "Owner")
    assert release.commit == git(three, "rev-parse", "models")
    assert (release.replaces, release.rollback_to) == ((2, head), 1)
    assert release.verdict == "rollback to v1"
    source = "876429e21c0b1fb2f7f8a9e4e5b4a3c2d1e0f9a8 with changes"
    assert release.bundle == ReleasedBundle("1" * 64, "2" * 64, source)
    assert release.accuracy == Accuracy(9947, 10_000, "test")
    assert release.withdraws == ((2, "3" * 64), (2, "4" * 64))


def test_a_release_that_holds_another_bundle_than_it_names_is_not_pulled(
    three: Path, tmp_path: Path
) -> None:
    _plant(three, OLD_MESSAGE)
    with pytest.raises(RegistryError, match="does not hold the bundle that its commit names"):
        pull(None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_release_cannot_steer_the_terminal(
    three: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Eve\x1b[2J\u202e\x9bmEve")
    _plant(three, OLD_MESSAGE.replace("Verdict: rollback", "Verdict: \x1b[2J rollback"))
    for words in (("history",), ("history", "--json")):
        printed = run(*words)[1]
        assert all(line.isprintable() for line in printed.splitlines())
        assert "?[2J rollback to v1" in printed
        assert "Eve?[2J??mEve" in printed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Version: v3", "Version: v03"),
        ("Version: v3", "Version: v3\nVersion: v4"),
        ("Replaces: v2 {head}\n", ""),
        ("Replaces: v2 {head}", "Replaces: v2 " + "0" * 40),
        ("Verdict: rollback to v1", "Verdict: " + "x" * 201),
        ("Bundle-SHA256: {ones}", "Bundle-SHA256: {ones}0"),
        ("Withdraws: v2 {fours}", "Signed-off-by: \x1b[31mEve"),
    ],
)
def test_a_commit_with_a_malformed_line_is_no_release(
    three: Path, ada: Path, old: str, new: str
) -> None:
    _plant(three, OLD_MESSAGE.replace(old, new))
    before = refs(three)
    with pytest.raises(RegistryError, match="is no release") as caught:
        publish(ada, gate=RecordingGate())
    assert str(caught.value).isprintable()
    assert refs(three) == before


def test_a_manifest_cannot_add_a_field_to_the_commit(registry: Path, ada: Path) -> None:
    seal(ada, source={"commit": "abc Version: v9", "dirty": False}, export=None)
    publish(ada, gate=RecordingGate())
    message = git(registry, "log", "-1", "--format=%B", "models")
    assert "v9" not in message
    champion = history().champion
    assert champion is not None
    assert champion.bundle.source is None


def test_no_file_of_a_dirty_detached_shallow_clone_is_touched_even_in_its_hook(
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
    with monkeypatch.context() as hook:  # git sets these wherever it calls one
        hook.setenv("GIT_DIR", str(shallow / ".git"))
        hook.setenv("GIT_INDEX_FILE", str(shallow / ".git" / "index"))
        hook.setenv("GIT_OBJECT_DIRECTORY", str(shallow / ".git" / "objects"))
        publish(ada, gate=RecordingGate())
        history()
    assert _everything_in(shallow) == before
    assert "refs/tags/model/v1" in refs(registry)


def _everything_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_remotes_path_is_relative_to_the_top_of_the_clone_and_one_given_to_where_one_is(
    registry: Path, clone: Path, ada: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(clone, "remote", "set-url", "origin", "../served/registry.git")
    (clone / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(clone / "deep" / "down")
    publish(ada, gate=RecordingGate())
    assert published(registry) == ["ada"]
    assert history(remote="../../../served/registry.git") == history()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")
def test_the_users_hooks_and_tag_signing_are_not_run(
    registry: Path, clone: Path, ada: Path, git_config: Path, tmp_path: Path
) -> None:
    hooks = tmp_path / "hooks"
    for name in ("pre-push", "reference-transaction"):
        write_script(hooks / name, "exit 1")
    git(registry, "config", "core.hooksPath", "hooks")  # the remote has its own
    settings = {"core.hooksPath": hooks, "tag.gpgSign": "true", "tag.forceSignAnnotated": "true"}
    for name, value in settings.items():
        git(clone, "config", "--file", str(git_config), name, str(value))
    publish(ada, gate=RecordingGate())
    assert published(registry) == ["ada"]


def test_a_version_is_given_once(three: Path, dora: Path) -> None:
    git(three, "update-ref", "refs/heads/models", "refs/heads/models~2")  # somebody took it back
    git(three, "update-ref", "refs/tags/model/latest", "refs/heads/models")
    gate = RecordingGate()
    assert publish(dora, gate=gate).version == 4
    assert gate.champions == ["ada"]


def test_a_lost_answer_makes_no_second_release(three: Path, server: GitServer, dora: Path) -> None:
    server.loses_answers = 1
    done = publish(dora, remote=server.url("registry.git"), gate=RecordingGate())
    assert server.loses_answers == 0
    assert (done.outcome, done.version) == ("published", 4)
    assert done.replaces == 3
    assert published(three) == ["ada", "bob", "cleo", "dora"]


def test_the_history_is_read_without_fetching_bundles(
    three: Path, server: GitServer, dora: Path
) -> None:
    git(three, "config", "uploadpack.allowFilter", "true")
    url = server.url("registry.git")
    assert len(history(remote=url).releases) == 3
    assert server.sent_bytes < 50_000
    gate = RecordingGate()
    publish(dora, remote=url, gate=gate)
    assert (gate.champions, gate.bests) == (["cleo"], ["bob"])
    assert published(three) == ["ada", "bob", "cleo", "dora"]


def _tag_something_else(registry: Path, name: str) -> str:
    tree = git(registry, "mktree", given="")
    commit = git(registry, "commit-tree", tree, given="something else")
    git(registry, "update-ref", f"refs/tags/{name}", commit)
    return commit


def test_stray_tags_take_no_other_number_than_their_own(
    registry: Path, ada: Path, bob: Path, cleo: Path
) -> None:
    names = ("v999999999", "v1000000000", "v9", "v2", "v3/x", "v1-rc", "latest")
    strays = {f"model/{name}": _tag_something_else(registry, f"model/{name}") for name in names}
    for bundle in (ada, bob, cleo):
        publish(bundle, gate=RecordingGate())
    assert [str(release) for release in history().releases] == ["v1", "v4", "v5"]
    assert {name: git(registry, "rev-parse", f"refs/tags/{name}") for name in strays} == strays


def test_a_stray_tag_that_comes_during_a_publication_is_passed_by(three: Path, dora: Path) -> None:
    gate = RecordingGate()

    def tagged(line: str) -> None:
        if line == "pushing v4":
            _tag_something_else(three, "model/v4")

    assert publish(dora, gate=gate, log=tagged).version == 5
    assert gate.champions == ["cleo", "cleo"]


def test_a_release_in_a_repository_on_this_machine_is_flushed_to_the_disk(
    registry: Path, ada: Path, git_config: Path, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    for name, value in (("trace2.eventTarget", events), ("core.fsyncMethod", "fsync")):
        git(tmp_path, "config", "--file", str(git_config), name, str(value))
    publish(ada, gate=RecordingGate())
    assert published(registry) == ["ada"]
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    flushed = [int(line["value"]) for line in lines if line.get("key") == "fsync/hardware-flush"]
    objects = int(git(registry, "count-objects").split()[0])
    assert sum(flushed) == objects + len(["refs/heads/models", "refs/tags/model/v1"])


@pytest.mark.usefixtures("three")
def test_every_file_of_a_pulled_bundle_is_flushed_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, fsync = set(), os.fsync

    def recorded(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    pull(None, tmp_path / "out")
    files = [*(tmp_path / "out").iterdir()]
    assert {file.stat().st_ino for file in [*files, tmp_path / "out", tmp_path]} <= flushed
    assert len(files) == 7


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
    return seal(bundle, source={"commit": commit, "dirty": dirty}, export=None)


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
