"""Problems of a remote, of git, or of the clone: each is an error of one line."""

from __future__ import annotations

import os
import shutil
import socket
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from git_server import RESET, GitServer
from releases import RecordingGate, git, published, refs, write_script

from mnistnet.errors import RegistryError
from mnistnet.registry.publish import publish, rollback
from mnistnet.registry.read import history, pull

NOBODY = 65534
needs_shell = pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")


def _complaint(bundle: Path | None = None, remote: str = "origin") -> str:
    call = partial(publish, bundle, gate=RecordingGate()) if bundle else history
    with pytest.raises(RegistryError) as caught:
        call(remote=remote)
    line = str(caught.value)
    assert line.isprintable()
    return line


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("start", ["http://user", "http://us%0aer"])
def test_a_refused_connection_is_named_without_the_password(start: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}/registry.git"
        line = _complaint(remote=f"{start}:secret@half@{address}")
    scheme = start.partition("//")[0]
    assert line.startswith(f"{scheme}//{address}: cannot be read (")
    assert "check the remote's address" in line
    assert "secret" not in line
    assert "half" not in line


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize(
    ("limit", "seconds", "problem"),
    [("STALLED_S", 1, "Operation too slow"), ("NETWORK_TIMEOUT_S", 0.5, "no answer within 0.5 s")],
)
def test_a_remote_that_does_not_answer_is_given_up(
    server: GitServer, monkeypatch: pytest.MonkeyPatch, limit: str, seconds: float, problem: str
) -> None:
    monkeypatch.setattr(f"mnistnet.registry.repository.{limit}", seconds)
    server.stalls = True
    assert problem in _complaint(remote=server.url("registry.git"))


@needs_shell
@pytest.mark.parametrize("complaint", ["", "fatal: write error: No space left on device"])
@pytest.mark.usefixtures("three")
def test_a_full_disk_is_not_blamed_on_the_remote(
    clone: Path, monkeypatch: pytest.MonkeyPatch, complaint: str
) -> None:
    """Git says so where its message finds space; a file that it reads may hold a line with !."""
    real = shutil.which("git")
    fails = f"printf 'bytes\n!bytes\tbytes'; echo '{complaint}' >&2; exit 128"
    write_script(clone / "git", f'case "$1" in cat-file) {fails} ;; esac\nexec {real} "$@"')
    monkeypatch.setenv("PATH", f"{clone}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(
        RegistryError, match=r"cannot be read \(.*No space left on device\)"
    ) as caught:
        pull(None, clone / "out")
    assert "free some space in" in str(caught.value)
    assert "!" not in str(caught.value)


@needs_shell
@pytest.mark.usefixtures("clone")
def test_the_reason_of_a_protected_branch_is_shown(
    registry: Path, ada: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TRACE", "1")
    reason = "models is protected \\033[2J\\n"
    write_script(registry / "hooks" / "pre-receive", f"printf '{reason}' >&2\nexit 1")
    line = _complaint(ada)
    assert line.startswith("origin: refuses v1 (models is protected ?[2J; [remote rejected]")
    assert "nothing was published" in line
    assert refs(registry) == {}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
@pytest.mark.usefixtures("clone")
def test_missing_git_is_named(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(ada))
    assert _complaint(ada).startswith("git is not installed")


@pytest.mark.usefixtures("clone")
def test_an_unknown_author_is_an_error_before_the_gate_is_asked(
    registry: Path, ada: Path, git_config: Path
) -> None:
    git_config.write_text("", encoding="utf-8")
    gate = RecordingGate()
    with pytest.raises(RegistryError, match=r"git config --global user\.name"):
        publish(ada, gate=gate)
    assert gate.champions == []
    assert history().releases == ()  # reading takes no name
    assert refs(registry) == {}


def test_the_clones_settings_are_used_conditional_includes_among_them(
    registry: Path, clone: Path, ada: Path, git_config: Path
) -> None:
    work = git_config.with_name("work.inc")
    work.write_text("[user]\nname = Work\nemail = work@example.org\n", encoding="utf-8")
    condition = f"includeIf.gitdir:{clone.parent.as_posix()}/.path"
    git(clone, "config", "--file", str(git_config), condition, str(work))
    git(clone, "config", "user.email", "local@example.org")
    git(clone, "config", f"url.{registry.parent.as_posix()}/.insteadOf", "short:")
    git(clone, "remote", "set-url", "origin", "short:registry.git")
    publish(ada, gate=RecordingGate())
    assert git(registry, "log", "-1", "--format=%an %ae", "models") == "Work local@example.org"


@pytest.mark.parametrize("remote", ["origin", None])
def test_a_repository_of_the_object_format_sha256_takes_releases(
    request: pytest.FixtureRequest, ada: Path, remote: str | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_DEFAULT_HASH", "sha256")
        registry = request.getfixturevalue("registry")
        request.getfixturevalue("clone")
    publish(ada, gate=RecordingGate(), remote=remote or str(registry))
    assert published(registry) == ["ada"]
    assert len(git(registry, "rev-parse", "models")) == 64
    assert str(history(remote=remote or str(registry)).champion) == "v1"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
@pytest.mark.parametrize("what", ["clone", "remote", "file", "path"])
def test_the_message_of_another_owners_repository_says_how_git_trusts_it(
    registry: Path, clone: Path, what: str, ada: Path, git_config: Path
) -> None:
    owned = clone if what == "clone" else registry
    remote = {"file": registry.as_uri(), "path": str(registry)}.get(what, "origin")
    for folder in (owned, owned / ".git"):
        if folder.exists():
            os.chown(folder, NOBODY, NOBODY)
    advice = f"git config --global --add safe.directory {owned}"
    assert f"(detected dubious ownership; to trust it: {advice})" in _complaint(remote=remote)
    git(clone.parent, *advice.split()[1:])
    assert git_config.read_text(encoding="utf-8").count(str(owned)) == 1
    assert publish(ada, remote=remote, gate=RecordingGate()).outcome == "published"


def test_a_remote_may_be_reached_over_ssh(
    registry: Path, clone: Path, ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git's own SSH transport, end to end; only the encrypted wire between is left out."""
    program = write_script(tmp_path / "ssh", 'shift $(($# - 1))\nexec sh -c "$1"')
    monkeypatch.setenv("GIT_SSH_COMMAND", f'"{program}"')
    address = f"ssh://git@host.invalid{registry.as_posix()}"
    git(clone, "remote", "set-url", "origin", address)
    assert publish(ada, gate=RecordingGate()).version == 1
    assert published(registry) == ["ada"]
    assert pull(None, tmp_path / "champion", remote=address).version == 1
    write_script(program, "echo 'Permission denied (publickey).' >&2; exit 255")
    assert "Permission denied" in _complaint()


def test_outside_a_clone_a_remote_is_a_url_or_a_path(
    tmp_path: Path, git_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git_config.exists()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert _complaint().startswith("this folder is in no git repository")


@pytest.mark.usefixtures("clone")
def test_an_unknown_remote_or_an_impossible_branch_is_refused(registry: Path) -> None:
    assert _complaint(remote="upstream").startswith("there is no remote 'upstream' here")
    with pytest.raises(RegistryError, match="cannot be a branch's name"):
        history(branch="models*")
    registry.rename(registry.with_name("moved"))
    assert "does not appear to be a git repository" in _complaint()


@pytest.mark.parametrize("remote", ["--upload-pack=touch pwned", "ext::sh -c touch% pwned"])
def test_a_remote_is_neither_an_option_nor_a_command(clone: Path, remote: str) -> None:
    _complaint(remote=remote)
    assert not (clone / "pwned").exists()


@pytest.mark.parametrize("setting", ["remote.origin.pushurl", "url.{elsewhere}.pushInsteadOf"])
def test_a_remote_is_read_where_git_push_writes(
    registry: Path, clone: Path, ada: Path, bob: Path, setting: str
) -> None:
    elsewhere = registry.with_name("elsewhere.git")
    git(registry.parent, "init", "--quiet", "--bare", elsewhere.name)
    value = registry if setting.startswith("url.") else elsewhere
    git(clone, "config", setting.format(elsewhere=elsewhere), str(value))
    gate = RecordingGate()
    assert [publish(bundle, gate=gate).version for bundle in (ada, bob)] == [1, 2]
    assert gate.champions == [None, "ada"]
    assert (refs(registry), published(elsewhere)) == ({}, ["ada", "bob"])
    assert str(history().champion) == "v2"


@pytest.mark.parametrize("address", ["no_push", "elsewhere.git"])
def test_a_remote_that_is_pushed_to_nowhere_or_to_several_addresses_is_only_read(
    three: Path, clone: Path, dora: Path, address: str
) -> None:
    git(clone, "remote", "set-url", "--push", "origin", str(three))
    options = ["--add"] if address != "no_push" else []
    git(clone, "remote", "set-url", "--push", *options, "origin", address)
    assert str(history().champion) == "v3"
    assert "addresses that git push writes to" in _complaint(dora)
    assert publish(dora, gate=RecordingGate(), remote=str(three)).version == 4


# ---- pushes that fail, or are not answered: what is said of the release is only what is known


@pytest.fixture
def url(server: GitServer) -> str:
    return server.url("registry.git")


@pytest.mark.parametrize(
    ("step", "failures"),
    [("GET read", [503]), ("GET push", [429, RESET]), ("POST push", [502, RESET])],
)
def test_a_remote_that_is_busy_for_a_moment_is_asked_again(
    server: GitServer, url: str, registry: Path, ada: Path, step: str, failures: list[int]
) -> None:
    server.failures[step] = list(failures)
    assert publish(ada, remote=url, gate=RecordingGate()).outcome == "published"
    assert server.failures[step] == []
    assert published(registry) == ["ada"]


@pytest.mark.parametrize(
    ("step", "failure", "problem"),
    [
        ("GET read", 503, "cannot be read (*503); it is busy, or cuts connections: try again"),
        ("GET read", 403, "cannot be read (*403); check the remote's address"),
        ("GET push", 429, "is busy, or cuts connections (*429); v1 was not published: try"),
        ("POST push", 403, "refuses v1 (*403*); nothing was published: see whether you may"),
        ("POST push", 429, "is busy, or cuts connections (*429*); v1 was not published: try"),
        ("POST push", RESET, "did not answer whether it takes v1 (*reset by peer*), which may"),
    ],
)
def test_the_error_of_a_failed_push_says_what_is_known(
    server: GitServer, url: str, ada: Path, step: str, failure: int, problem: str
) -> None:
    server.failures[step] = [failure] * 9
    line, (start, end) = _complaint(ada, url), problem.split("*", 1)
    assert line.startswith(f"{url}: {start}")
    assert all(part in line for part in end.split("*"))


def test_an_unanswered_push_stays_unknown_where_the_remote_cannot_be_read_any_more(
    server: GitServer, url: str, ada: Path
) -> None:
    def dies(line: str) -> None:
        if line.startswith("pushing"):
            server.failures = {"POST push": [RESET] * 9, "GET read": [503] * 9}

    with pytest.raises(RegistryError, match="did not answer whether it takes v1"):
        publish(ada, remote=url, gate=RecordingGate(), log=dies)


@needs_shell
def test_a_release_that_is_taken_after_the_time_limit_is_not_called_unpublished(
    url: str, registry: Path, ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, calls = tmp_path / "go", tmp_path / "calls"
    waits = f"echo called >> '{calls}'; while ! [ -e '{go}' ]; do sleep 0.05; done"
    hook = write_script(registry / "hooks" / "pre-receive", waits)
    monkeypatch.setattr("mnistnet.registry.publish.PUSHING_S", 1)
    line = _complaint(ada, url)
    assert "did not answer whether it takes v1 (no answer within 1 s), which may appear" in line
    assert refs(registry) == {}
    go.touch()
    while not refs(registry):
        time.sleep(0.05)
    assert calls.read_text(encoding="utf-8") == "called\n"  # a slow hook is waited for once
    assert str(history(remote=url).champion) == "v1"
    hook.unlink()
    assert publish(ada, remote=url, gate=RecordingGate()).outcome == "unchanged"


@needs_shell
@pytest.mark.slow
def test_a_push_waits_for_the_hooks_of_the_remote_where_reading_would_be_given_up(
    url: str, registry: Path, ada: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(registry / "hooks" / "pre-receive", "sleep 3")
    monkeypatch.setattr("mnistnet.registry.repository.STALLED_S", 1)
    assert publish(ada, remote=url, gate=RecordingGate()).outcome == "published"


def test_a_rollback_is_pushed_in_the_same_way(server: GitServer, url: str, three: Path) -> None:
    server.failures["POST push"] = [503, RESET]
    assert rollback(1, remote=url).version == 4
    assert published(three) == ["ada", "bob", "cleo", "ada"]
