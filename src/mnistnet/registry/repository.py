"""A temporary git repository that reaches a remote as the user's clone does.

    with private_repository("origin") as repository:
        repository.contact("fetch", repository.remote, "+refs/heads/models:refs/heads/models")
        log = repository.run("log", "refs/heads/models")

Of the clone that a command is run in, only the configuration is read. Its own objects and refs
would not do: commits are fetched without their files, which would leave the clone with missing
objects, and a shallow clone would cut the history off. No hooks are run.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.errors import RegistryError
from mnistnet.files import scratch_folder
from mnistnet.registry.git import (
    LOCAL_TIMEOUT_S,
    LONGEST_PAUSE_S,
    NO_SPACE,
    GitError,
    pause,
    run_git,
)
from mnistnet.text import printable, without_password

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NETWORK_TIMEOUT_S = 300
STALLED_S = 30  # reading over HTTP is given up where it stays under 1 kB/s for so long
TRIES = 3  # of what a busy remote does not answer
URL_REMOTE = "mnistnet-registry"  # the private name of a remote that was given as a URL
# Of git's variables, those that say who its user is, and how remotes are reached. Others lead to
# another repository, wherever a hook calls this program, or mix traces with a failure's reason.
KEPT = re.compile(
    r"(?!GIT_)|GIT_(AUTHOR|COMMITTER|ASKPASS|SSH|SSL|HTTP|PROXY|ALLOW_PROTOCOL|EXEC_PATH)"
)
# What the private repository is configured to, whatever its user's settings are.
OWN_SETTINGS = {
    "core.fsync": "none",  # it is temporary
    "core.hooksPath": "/dev/null",
    "fetch.fsckObjects": "true",
    "gc.auto": "0",
    "http.lowSpeedLimit": "0",  # a push waits for the remote's hooks
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
    "push.gpgSign": "false",
    "tag.forceSignAnnotated": "false",
    "tag.gpgSign": "false",
    "trailer.separators": ":",
    "user.useConfigOnly": "true",
}
# A remote that is a path is written by a git of ours: on the disk, before it says that it is done.
FLUSH = ("core.fsync", "all")
# The settings of a clone itself that say who its user is and how its remotes are reached.
TAKEN_OVER = re.compile(
    r"(http|https|credential|ssh|user|author|committer)\..+"
    r"|core\.(sshcommand|askpass|gitproxy)"
    r"|remote\.(?!.*\.(fetch|push|mirror|prune|tagopt|promisor|partialclonefilter)$).+"
)
# What is not taken over: git has included the files already, and worked out the addresses.
LEFT_OUT = re.compile(r"(include|includeif|url)\..+|remote\..+\.(push)?url")


class UnreachableError(RegistryError):
    """The remote cannot be read."""


@dataclass(frozen=True)
class Repository:
    """A temporary bare repository."""

    scratch: Path  # the temporary folder that it lies in
    remote: str  # the name under which it knows the remote
    shown: str  # what the user called that remote, for messages
    addresses: int  # how many git push would write to
    _cwd: Path
    _environment: dict[str, str]

    def run(self, *words: str, stdin: bytes = b"", timeout_s: float = LOCAL_TIMEOUT_S) -> bytes:
        """Run a git command with some standard input, and return what it prints.

        Raises:
            GitError: it failed, or was not done in time.
        """
        return run_git(words, self._cwd, self._environment, timeout_s=timeout_s, stdin=stdin)

    def has_sha256(self) -> bool:
        """Whether the remote names objects by SHA-256; it says so even while it is empty."""
        packets = self.scratch / "packets"
        self.contact("ls-remote", self.remote, "HEAD", GIT_TRACE_PACKET=str(packets))
        return b"object-format=sha256" in packets.read_bytes()

    def contact(self, *words: str, **variables: str) -> bytes:
        """Run a git command that may read from the remote, again where the remote is busy.

        Raises:
            UnreachableError: it failed, or was not done in time.
        """
        stalled = {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": str(STALLED_S)}
        environment = self._environment | stalled | variables
        for attempt in range(TRIES):
            if attempt:
                pause(LONGEST_PAUSE_S)
            try:
                return run_git(words, self._cwd, environment, timeout_s=NETWORK_TIMEOUT_S)
            except GitError as error:
                failure = error
            if not failure.busy:
                break
        advice = "check the remote's address, the network, and who may read it"
        if failure.busy:
            advice = "it is busy, or cuts connections: try again later"
        elif NO_SPACE in failure.reason:
            advice = f"free some space in {self.scratch.parent}, or set TMPDIR to another folder"
        raise UnreachableError(f"{self.shown}: cannot be read ({failure.reason}); {advice}")


@contextmanager
def private_repository(remote: str) -> Iterator[Repository]:
    """Make a temporary repository that knows a remote; it is removed at the block's end.

    The remote is the name of one of the clone that the command is run in, or a URL or path.

    Raises:
        RegistryError: there is no such remote, or git is not installed.
        UnreachableError: the remote is a URL or path, and cannot be read.
    """
    pushed_to = _addresses_by_git("remote", "get-url", "--push", "--all", remote)
    name, cwd, object_format = URL_REMOTE, Path.cwd(), "sha1"
    if pushed_to:
        name = remote
        cwd, object_format = _clone()
    address, addresses = _addresses(remote, pushed_to, cwd)
    settings = [*OWN_SETTINGS.items(), (f"remote.{name}.url", address)]
    with scratch_folder() as scratch:
        folder, config = scratch / "git", scratch / "config"
        config.write_bytes(_config_file([FLUSH, *_settings()]))
        environment = _environment(folder, config)
        shown = printable(without_password(remote))
        repository = Repository(scratch, name, shown, addresses, cwd, environment)
        _init(repository, settings, object_format)
        if not pushed_to and repository.has_sha256():
            shutil.rmtree(folder)
            _init(repository, settings, "sha256")
        yield repository


def _init(repository: Repository, settings: Iterable[tuple[str, str]], object_format: str) -> None:
    words = ("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}")
    repository.run(*words)
    with (repository.scratch / "git" / "config").open("ab") as file:
        file.write(_config_file(settings))


def _addresses_by_git(*words: str) -> list[str]:
    """Return the addresses that git prints here; none where it knows no such remote."""
    try:
        return os.fsdecode(run_git(words, Path.cwd())).splitlines()
    except GitError:
        return []


def _addresses(remote: str, pushed_to: list[str], cwd: Path) -> tuple[str, int]:
    """Return where a remote is read, and how many addresses git push writes to.

    It is read where it is written, so that a release follows on what is there.

    Raises:
        RegistryError: there is no such remote.
    """
    if pushed_to and _is_address(pushed_to[0], cwd):
        return pushed_to[0], len(pushed_to)
    for address in _addresses_by_git("ls-remote", "--get-url", "--", remote):
        if _is_address(address, cwd):  # a URL or a path
            # `git remote set-url --push origin no_push` is how people forbid themselves to push.
            return address, 0 if pushed_to else 1
    _clone()
    raise RegistryError(
        f"there is no remote {printable(remote)!r} here; git remote -v lists them, and --remote"
        " takes one of them, a URL or a path"
    )


def _is_address(text: str, cwd: Path) -> bool:
    """Whether a text is a URL, or the path of something."""
    return not text.startswith("-") and (bool(re.search(r"[:/\\]", text)) or (cwd / text).exists())


def _environment(folder: Path, config: Path) -> dict[str, str]:
    """Return the environment of git in a private repository."""
    return {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",  # `ext` runs anything
        **{key: value for key, value in os.environ.items() if KEPT.match(key)},
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(folder),
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",  # English, for GitError.reason
    }


def _settings() -> list[tuple[str, str]]:
    """List what git is configured to here, conditional includes resolved, as key and value."""
    listed = run_git(["config", "--includes", "--list", "--show-scope", "--null"], Path.cwd())
    words = os.fsdecode(listed).split("\0")
    settings = []
    for scope, setting in zip(words[::2], words[1::2], strict=False):
        key, newline, value = setting.partition("\n")
        if LEFT_OUT.fullmatch(key):
            continue
        if scope not in ("local", "worktree") or TAKEN_OVER.fullmatch(key):
            settings.append((key, value if newline else "true"))
    return settings


def _config_file(settings: Iterable[tuple[str, str]]) -> bytes:
    """Return settings in the syntax of git's configuration files."""

    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    lines = []
    for key, value in settings:
        section, _, rest = key.partition(".")
        subsection, _, name = rest.rpartition(".")
        head = f'{section} "{escaped(subsection)}"' if subsection else section
        lines.append(f'[{head}]\n\t{name} = "{escaped(value)}"\n')
    return os.fsencode("".join(lines))


def _clone() -> tuple[Path, str]:
    """Return the folder that the paths of a clone's remotes start from, and its object format."""
    words = ("rev-parse", "--show-object-format", "--absolute-git-dir", "--show-cdup")
    try:
        found = os.fsdecode(run_git(words, Path.cwd())).removesuffix("\n")
    except GitError as error:
        raise RegistryError(
            f"this folder is in no git repository that git uses ({error.reason}), so it has no"
            " remotes by name; run this in a clone where git status works, or give --remote a URL"
            " or a path"
        ) from None
    object_format, git_dir, *up = found.split("\n")  # a bare repository has no `up`
    return (Path.cwd() / up[0] if up else Path(git_dir)), object_format
