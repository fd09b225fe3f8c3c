"""A push that fails, or is not answered: the error says of the release only what is known."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from git_server import RESET, GitServer
from releases import RecordingGate, published, refs, write_script

from mnistnet.errors import RegistryError
from mnistnet.registry.publish import publish, rollback
from mnistnet.registry.read import history

needs_shell = pytest.mark.skipif(os.name == "nt", reason="the hook is a shell script")


@pytest.fixture
def url(server: GitServer) -> str:
    return server.url("registry.git")


def _complaint(bundle: Path, remote: str) -> str:
    with pytest.raises(RegistryError) as caught:
        publish(bundle, remote=remote, gate=RecordingGate())
    line = str(caught.value)
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    ("method", "service", "failures"),
    [("GET", "read", [503]), ("GET", "push", [429, RESET]), ("POST", "push", [502, RESET])],
)
def test_a_remote_that_is_busy_for_a_moment_is_asked_again(
    server: GitServer,
    url: str,
    registry: Path,
    ada: Path,
    method: str,
    service: str,
    failures: list[int],
) -> None:
    server.failures[method, service] = list(failures)
    assert publish(ada, remote=url, gate=RecordingGate()).outcome == "published"
    assert server.failures[method, service] == []
    assert published(registry) == ["ada"]


@pytest.mark.parametrize(
    ("method", "service", "failure", "problem"),
    [
        ("GET", "read", 503, "cannot be read (*503); it is busy, or cuts connections: try again"),
        ("GET", "read", 403, "cannot be read (*403); check the remote's address"),
        ("GET", "push", 429, "is busy, or cuts connections (*429); v1 was not published: try"),
        ("POST", "push", 403, "refuses v1 (*403*); nothing was published: see whether you may"),
        ("POST", "push", 429, "is busy, or cuts connections (*429*); v1 was not published: try"),
        ("POST", "push", RESET, "did not answer whether it takes v1 (*reset by peer*), which may"),
    ],
)
def test_the_error_of_a_failed_push_says_what_is_known(
    server: GitServer, url: str, ada: Path, method: str, service: str, failure: int, problem: str
) -> None:
    server.failures[method, service] = [failure] * 9
    line, (start, end) = _complaint(ada, url), problem.split("*", 1)
    assert line.startswith(f"{url}: {start}")
    assert all(part in line for part in end.split("*"))


def test_an_unanswered_push_stays_unknown_where_the_remote_cannot_be_read_any_more(
    server: GitServer, url: str, ada: Path
) -> None:
    def dies(line: str) -> None:
        if line.startswith("pushing"):
            server.failures = {("POST", "push"): [RESET] * 9, ("GET", "read"): [503] * 9}

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
    server.failures["POST", "push"] = [503, RESET]
    assert rollback(1, remote=url).version == 4
    assert published(three) == ["ada", "bob", "cleo", "ada"]
