"""A private repository: bare, temporary, and knowing the remote as the user's clone does.

    with private_repository("origin") as repository:
        repository.fetch("+refs/heads/models:refs/heads/models")
        blobs = repository.read_objects(names, "blob", max_bytes=1_000_000)

All work is done in it. Of the clone that a command is run in, only the configuration is read: where
the remote is, and how one gets in there.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.errors import RegistryError
from mnistnet.registry.git import LOCAL_TIMEOUT_S, GitFailed, environment, run_git
from mnistnet.text import printable, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NETWORK_TIMEOUT_S = 300
URL_REMOTE = "mnistnet-registry"  # what a remote is called here that was given as a URL
# What of a clone's own configuration says who we are, and how its remotes are reached.
TAKEN_OVER = re.compile(
    r"(http|https|credential|url|ssh|user|author|committer)\..+"
    r"|core\.(sshcommand|askpass|gitproxy)"
)
NOT_OF_A_REMOTE = ("fetch", "push", "mirror", "prune", "tagopt", "promisor", "partialclonefilter")


@dataclass(frozen=True)
class Repository:
    """A private repository.

    Attributes:
        remote: the name under which it knows the remote.
        named: what the user called that remote, for messages.
    """

    folder: Path
    remote: str
    named: str
    _cwd: Path | None
    _config: tuple[tuple[str, str], ...]

    def run(self, verb: str, *words: str, given: bytes = b"", network: bool = False) -> bytes:
        """Run a git command on it, give it some standard input, and return what it prints.

        Raises:
            GitFailed: it failed, or was not done in time.
            RegistryError: git is not installed.
        """
        return run_git(
            [verb, *words],
            cwd=self._cwd,
            environment=environment(self._config) | {"GIT_DIR": str(self.folder)},
            timeout_s=NETWORK_TIMEOUT_S if network else LOCAL_TIMEOUT_S,
            given=given,
        )

    def remote_refs(self, *patterns: str) -> bytes:
        """List the remote's refs. Raises RegistryError."""
        return self._ask("ls-remote", self.remote, *patterns)

    def fetch(self, *refspecs: str) -> None:
        """Fetch refs. Raises RegistryError."""
        self._ask("fetch", "--quiet", "--no-tags", "--refmap=", self.remote, *refspecs)

    def _ask(self, verb: str, *words: str) -> bytes:
        try:
            return self.run(verb, *words, network=True)
        except GitFailed as error:
            raise RegistryError(
                f"{self.named}: cannot be read ({error.reason}); check the remote's address, the"
                " network, and who may read it"
            ) from None

    def read_objects(self, names: Sequence[str], kind: str, *, max_bytes: int) -> list[bytes]:
        """Give the content of some objects, all of one kind; look at their sizes first.

        Raises:
            RegistryError: one is of another kind, or they are larger than that together.
        """
        given = "".join(f"{name}\n" for name in names).encode()
        sizes = []
        for line in (
            self.run("cat-file", "--batch-check", given=given, network=True).decode().splitlines()
        ):
            name, found, *size = line.split()
            if found != kind or not size:
                raise RegistryError(f"{self.named}: {name} is no {kind}; the registry is damaged")
            sizes.append(int(size[0]))
        if sum(sizes) > max_bytes:
            raise RegistryError(
                f"{self.named}: holds a {kind} of more than {max_bytes:,} bytes, which is none of"
                " ours; the registry is damaged"
            )
        output = self.run("cat-file", "--batch", given=given, network=True)
        contents = []
        for size_bytes in sizes:
            start = output.index(b"\n") + 1
            contents.append(output[start : start + size_bytes])
            output = output[start + size_bytes + 1 :]
        return contents


@contextmanager
def private_repository(remote: str) -> Iterator[Repository]:
    """Make a repository of our own that knows a remote, and take it away in the end.

    Args:
        remote: the name of a remote of the clone that one is in, or a URL or path.

    Raises:
        RegistryError: there is no such remote, or git is not installed.
    """
    cwd, config = _configured(remote)
    name = remote if cwd else URL_REMOTE
    with tempfile.TemporaryDirectory(prefix="mnistnet-", ignore_cleanup_errors=True) as folder:
        config = [
            *config,
            # Where the remote can, it sends the files of those releases only that are read.
            (f"remote.{name}.promisor", "true"),
            (f"remote.{name}.partialclonefilter", "blob:none"),
            ("core.hooksPath", str(Path(folder) / "no-hooks")),
        ]
        run_git(["init", "--quiet", "--bare", "--template=", folder], environment=environment([]))
        yield Repository(Path(folder), name, _without_password(remote), cwd, tuple(config))


def _configured(remote: str) -> tuple[Path | None, list[tuple[str, str]]]:
    """Find how a remote is reached.

    Returns:
        The folder to be in, if it is a remote of the clone here, else None; and the
        configuration.
    """
    settings = _settings()
    prefix = f"remote.{remote}."
    keys = {key for _, key, _ in settings}
    config = [(key, value) for scope, key, value in settings if scope and TAKEN_OVER.match(key)]
    if f"{prefix}url" in keys:
        unwanted = {prefix + name for name in NOT_OF_A_REMOTE}
        config += [
            (key, value)
            for scope, key, value in settings
            if scope and key.startswith(prefix) and key not in unwanted
        ]
        return _top(), config
    if not remote.startswith("-") and (re.search(r"[:/\\]", remote) or Path(remote).exists()):
        return None, [*config, (f"remote.{URL_REMOTE}.url", remote)]
    if _top_or_none() is None:
        raise RegistryError(
            f"this folder is in no git repository, so it has no remote {remote!r}; run the command"
            " in a clone, or give --remote a URL or a path"
        )
    raise RegistryError(
        f"there is no remote {remote!r} here; git remote -v lists them, and --remote takes one of"
        " them, a URL or a path"
    )


def _settings() -> list[tuple[bool, str, str]]:
    """List git's configuration here: whether it is the clone's own, key and value."""
    listed = run_git(["config", "--includes", "--list", "--show-scope", "--null"])
    words = listed.decode(errors="surrogateescape").split("\0")
    settings = []
    for scope, setting in zip(words[::2], words[1::2], strict=False):
        key, _, value = setting.partition("\n")
        settings.append((scope in ("local", "worktree"), key, value or "true"))
    return settings


def _top() -> Path:
    """Find the folder that the paths of a clone's remotes start from."""
    return _top_or_none() or Path.cwd()


def _top_or_none() -> Path | None:
    for words in (["rev-parse", "--show-toplevel"], ["rev-parse", "--absolute-git-dir"]):
        try:
            return Path(os.fsdecode(run_git(words)).removesuffix("\n"))
        except GitFailed:
            continue
    return None


def _without_password(remote: str) -> str:
    return printable(without_password(remote))
