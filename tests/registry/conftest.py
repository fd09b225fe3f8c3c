"""A clone with a remote, both real, and a git that is configured by the tests alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_server import GitServer, running
from releases import RecordingGate, configure_git, git, make_bundle, write_pair


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pushes; they are there for other publishers on other machines."""
    monkeypatch.setattr("mnistnet.registry.git.LONGEST_PAUSE_S", 0.01)


@pytest.fixture
def git_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only configuration that git has: the user's name."""
    return configure_git(tmp_path, monkeypatch)


@pytest.fixture
def registry(tmp_path: Path, git_config: Path) -> Path:  # noqa: ARG001 – it must be there
    """An empty bare repository."""
    folder = tmp_path / "served" / "registry.git"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--bare")
    return folder


@pytest.fixture
def clone(tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with `origin`, and the folder that commands run in."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "remote", "add", "origin", str(registry))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def server(registry: Path) -> Iterator[GitServer]:
    """Serves `registry.git` over smart HTTP."""
    with running(GitServer(registry.parent)) as server:
        yield server


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    """A bundle."""
    return make_bundle(tmp_path, "ada")


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    """Another bundle, a little better."""
    return make_bundle(tmp_path, "bob", correct=9910)


@pytest.fixture
def cleo(tmp_path: Path) -> Path:
    """A third one, a little worse."""
    return make_bundle(tmp_path, "cleo", correct=9890)


@pytest.fixture
def dora(tmp_path: Path) -> Path:
    """And one that `three` does not hold."""
    return make_bundle(tmp_path, "dora")


@pytest.fixture(scope="session")
def three_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with ada, bob and cleo as v1 to v3, to copy."""
    from mnistnet.registry.publish import publish

    folder = tmp_path_factory.mktemp("three")
    git(folder, "init", "--quiet", "--bare", "registry.git")
    with pytest.MonkeyPatch.context() as patch:
        configure_git(folder, patch)
        for name, correct in (("ada", 9900), ("bob", 9910), ("cleo", 9890)):
            bundle = make_bundle(folder, name, correct=correct)
            publish(bundle, remote=str(folder / "registry.git"), gate=RecordingGate())
    return folder / "registry.git"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two key pairs: the maker's and a stranger's."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("maker", "stranger"):
        write_pair(folder, name)
    return folder


@pytest.fixture
def three(three_releases: Path, registry: Path) -> Path:
    """The clone's remote, with three releases."""
    shutil.rmtree(registry)
    return shutil.copytree(three_releases, registry)
