"""Git, run safely in a temporary repository that reaches a remote as the user's clone does.

    with private_repository("origin") as repository:
        repository.contact("fetch", repository.remote, "+refs/heads/models:refs/heads/models")
        log = repository.run("log", "refs/heads/models")

Bounded time and output, no prompts, no hooks, and one line for whatever goes wrong. Of the clone
that a command is run in, only the configuration is read. Its own objects and refs would not do:
commits are fetched without their files, which would leave the clone with missing objects, and a
shallow clone would cut the history off.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.errors import RegistryError
from mnistnet.files import scratch_folder
from mnistnet.text import printable, without_password

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LOCAL_TIMEOUT_S = 60
NETWORK_TIMEOUT_S = 300
STALLED_S = 30  # an HTTP connection is given up that stays under 1 kB/s for so long
MAX_OUTPUT_BYTES = 50_000_000
URL_REMOTE = "mnistnet-registry"  # the private name of a remote that was given as a URL
# Of git's variables, those that say who its user is, and how remotes are reached. Others lead to
# another repository, wherever a hook calls this program, or mix traces with a failure's reason.
KEPT = re.compile(
    r"(?!GIT_)|GIT_(AUTHOR|COMMITTER|ASKPASS|SSH|SSL|HTTP|PROXY|ALLOW_PROTOCOL|EXEC_PATH)"
)
# What the private repository is configured to, whatever its user's settings are.
OWN_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "fetch.fsckObjects": "true",
    "gc.auto": "0",
    "http.lowSpeedLimit": "1000",
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
# The settings of a clone itself that say who its user is and how its remotes are reached.
TAKEN_OVER = re.compile(
    r"(http|https|credential|url|ssh|user|author|committer)\..+"
    r"|core\.(sshcommand|askpass|gitproxy)"
    r"|remote\.(?!.*\.(fetch|push|mirror|prune|tagopt|promisor|partialclonefilter)$).+"
)
# Lines of standard error that give a reason, but for those that only say that it failed.
REASON = re.compile(
    r"(?!error: failed to push some refs|fatal: Could not read from remote repository)"
    r"(fatal: |error: |ssh: |Permission denied|Host key)"
)


class GitError(RegistryError):
    """Git failed; `reason` is its message, or the remote's, in one line."""

    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"git {verb} failed ({reason})")
        self.reason = reason


@dataclass(frozen=True)
class Repository:
    """A temporary bare repository."""

    scratch: Path  # the temporary folder that it lies in
    remote: str  # the name under which it knows the remote
    shown: str  # what the user called that remote, for messages
    _cwd: Path
    _environment: dict[str, str]

    def run(self, *words: str, given: bytes = b"", network: bool = False) -> bytes:
        """Run a git command with some standard input, and return what it prints.

        Raises:
            GitError: it failed, or was not done in time.
        """
        timeout_s = NETWORK_TIMEOUT_S if network else LOCAL_TIMEOUT_S
        return run_git(words, self._cwd, self._environment, timeout_s=timeout_s, given=given)

    def contact(self, *words: str) -> bytes:
        """Run a git command that may read from the remote. Raises RegistryError."""
        try:
            return self.run(*words, network=True)
        except GitError as error:
            raise RegistryError(
                f"{self.shown}: cannot be read ({error.reason}); check the remote's address, the"
                " network, and who may read it"
            ) from None


@contextmanager
def private_repository(remote: str) -> Iterator[Repository]:
    """Make a temporary repository that knows a remote; it is removed at the block's end.

    The remote is the name of one of the clone that the command is run in, or a URL or path.

    Raises:
        RegistryError: there is no such remote, or git is not installed.
    """
    settings = _settings()
    name, cwd, object_format = URL_REMOTE, Path.cwd(), "sha1"
    if any(key == f"remote.{remote}.url" for key, _ in settings):
        name = remote
        cwd, object_format = _clone()
    elif not remote.startswith("-") and (re.search(r"[:/\\]", remote) or Path(remote).exists()):
        settings.append((f"remote.{name}.url", remote))
    else:
        _clone()
        raise RegistryError(
            f"there is no remote {printable(remote)!r} here; git remote -v lists them, and --remote"
            " takes one of them, a URL or a path"
        )
    with scratch_folder() as scratch:
        folder, config = scratch / "git", scratch / "config"
        config.write_bytes(_config_file(settings))
        environment = _environment(folder, config)
        words = ("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}")
        run_git(words, cwd, environment)
        own = OWN_SETTINGS | {"http.lowSpeedTime": str(STALLED_S)}
        with (folder / "config").open("ab") as file:
            file.write(_config_file(own.items()))
        shown = printable(without_password(remote))
        yield Repository(scratch, name, shown, cwd, environment)


def _environment(folder: Path, config: Path) -> dict[str, str]:
    """Return the environment of git in a private repository."""
    return {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",  # `ext` runs anything
        **{key: value for key, value in os.environ.items() if KEPT.match(key)},
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DIR": str(folder),
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",  # English, for `_reason`
    }


def _settings() -> list[tuple[str, str]]:
    """List what git is configured to here, conditional includes resolved, as key and value."""
    listed = run_git(["config", "--includes", "--list", "--show-scope", "--null"], Path.cwd())
    words = os.fsdecode(listed).split("\0")
    settings = []
    for scope, setting in zip(words[::2], words[1::2], strict=False):
        key, newline, value = setting.partition("\n")
        own = scope in ("local", "worktree")
        if TAKEN_OVER.fullmatch(key) if own else not key.startswith(("include.", "includeif.")):
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


def run_git(
    words: Sequence[str],
    cwd: Path,
    environment: dict[str, str] | None = None,
    *,
    timeout_s: float = LOCAL_TIMEOUT_S,
    given: bytes = b"",
) -> bytes:
    """Run git. Files, not pipes: a grandchild that lives on must not keep us waiting for their end.

    Raises:
        GitError: it failed, was not done in time, or printed too much.
        RegistryError: it is not installed.
    """
    git = shutil.which("git")
    if git is None:
        raise RegistryError(
            "git is not installed, and it keeps the models; install it from https://git-scm.com"
        )
    scratch = tempfile.TemporaryFile
    with scratch() as source, scratch() as out, scratch() as err:
        source.write(given)
        source.seek(0)
        streams = {"stdin": source, "stdout": out, "stderr": err, "start_new_session": True}
        process = subprocess.Popen([git, *words], cwd=cwd, env=environment, **streams)  # type: ignore[call-overload] # noqa: S603
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise GitError(words[0], f"no answer within {timeout_s} s") from None
        finally:
            _end(process)
        out.seek(0)
        err.seek(0)
        output, complaint = out.read(MAX_OUTPUT_BYTES + 1), err.read(MAX_OUTPUT_BYTES)
    if code != 0:
        raise GitError(words[0], _reason(output, complaint) or f"exit code {code}")
    if len(output) > MAX_OUTPUT_BYTES:
        raise GitError(words[0], f"more than {MAX_OUTPUT_BYTES:,} bytes of output")
    return output


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and what it started, if it is still running."""
    if process.poll() is not None:
        return
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reason(output: bytes, complaint: bytes) -> str:
    """Find in stdout and stderr why git failed: what the remote says, or else git itself.

    In the output of `push --porcelain`, lines of refused refs start with an exclamation mark.
    """
    lines = [printable(line) for line in complaint.decode(errors="replace").splitlines()]
    refs = output.decode(errors="replace").splitlines()
    refused = [printable(line.rsplit("\t", 1)[-1]) for line in refs if line.startswith("!")]
    remote = [line[8:].strip() for line in lines if line.startswith("remote: ")]
    own = [re.sub(r"^(fatal|error): ", "", line) for line in lines if REASON.match(line)]
    reasons = [line for line in remote if line] or own or lines[-1:]
    return "; ".join([*reasons[:3], *refused[:1]])[:400]
