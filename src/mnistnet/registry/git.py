"""Git, run safely: bounded time and output, no prompts, and one line for whatever goes wrong.

log = run_git(["log", "--oneline"], folder)        # or GitError
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mnistnet.errors import RegistryError
from mnistnet.text import printable, without_password

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL_TIMEOUT_S = 60
LONGEST_PAUSE_S = 5.0
MAX_OUTPUT_BYTES = 50_000_000
# Lines of standard error that give a reason, but for those that only say that it failed.
REASON = re.compile(
    r"(?!error: failed to push some refs|fatal: Could not read from remote repository)"
    r"(fatal: |error: |ssh: |Permission denied|Host key)"
)
# A clone, or a remote's folder, of another owner: git says how to trust it.
DUBIOUS = re.compile(r"(?s)detected dubious ownership.*?\n\t(git config [^\n]+)")
# What may pass by itself: the remote is overloaded, restarts, or cuts the connection.
BUSY = re.compile(
    r"(?s)(?!.*(HTTP 4(?!08|25|29)|rejected\]))"
    r".*((error:|HTTP) (408|425|429|5[0-9]{2})|Connection reset|Empty reply|hung up unexpectedly)"
)
# After these a push did not arrive, or the remote has answered that it does not take it.
NOT_TAKEN = re.compile(
    r"unable to access|[Cc]ould not read|not found|hash algorithm|HTTP 4|!.*rejected\]"
)


NO_SPACE = "No space left on device"
FULL_BYTES = 10_000  # free on a disk that had no space for git's message, either


class GitError(RegistryError):
    """Git failed.

    Attributes:
        reason: its message, or the remote's, in one line.
        busy: whether it may pass by itself.
        unknown: whether the remote may have done it all the same.
    """

    def __init__(self, verb: str, reason: str, *, busy: bool = False, unknown: bool = True) -> None:
        super().__init__(f"git {verb} failed ({reason})")
        self.reason = reason
        self.busy = busy
        self.unknown = unknown


def run_git(
    words: Sequence[str],
    cwd: Path,
    environment: dict[str, str] | None = None,
    *,
    timeout_s: float = LOCAL_TIMEOUT_S,
    stdin: bytes = b"",
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
        source.write(stdin)
        source.seek(0)
        streams = {"stdin": source, "stdout": out, "stderr": err, "start_new_session": True}
        process = subprocess.Popen([git, *words], cwd=cwd, env=environment, **streams)  # type: ignore[call-overload] # noqa: S603
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise GitError(words[0], f"no answer within {timeout_s:.3g} s") from None
        finally:
            _end(process)
        out.seek(0)
        err.seek(0)
        output, complaint = out.read(MAX_OUTPUT_BYTES + 1), err.read(MAX_OUTPUT_BYTES)
        if code != 0:  # before the files, which may fill the disk, are gone
            raise _failure(words[0], code, output, complaint)
    if len(output) > MAX_OUTPUT_BYTES:
        raise GitError(words[0], f"more than {MAX_OUTPUT_BYTES:,} bytes of output")
    return output


def precedes(commit: str, other: str) -> bool:
    """Whether a commit comes before another, as far as the clone that this is run in knows."""
    words = ("merge-base", "--is-ancestor", commit, other)
    try:
        run_git(words, Path.cwd(), {**os.environ, "GIT_NO_LAZY_FETCH": "1"})
    except GitError:
        return False
    return commit != other


def pause(longest_s: float) -> None:
    """Wait for a random time, so that two that try again do not stay in step."""
    time.sleep(secrets.SystemRandom().uniform(0, min(longest_s, LONGEST_PAUSE_S)))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and what it started, if it is still running."""
    if process.poll() is not None:
        return
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(verb: str, code: int, output: bytes, complaint: bytes) -> GitError:
    """Find in stdout and stderr why git failed: what the remote says, or else git itself.

    In the output of `push --porcelain`, lines of refused refs start with an exclamation mark.
    """
    complained = without_password(complaint.decode(errors="replace"))
    lines = [printable(line) for line in complained.splitlines()]
    printed = output.decode(errors="replace").splitlines() if verb == "push" else []
    refs = [line for line in printed if line.startswith("!")]
    refused = [printable(line.rsplit("\t", 1)[-1]) for line in refs]
    remote = [line[8:].strip() for line in lines if line.startswith("remote: ")]
    own = [line for line in lines if not line.startswith("remote: ")]
    reasons = [re.sub(r"^(fatal|error): ", "", line) for line in own if REASON.match(line)]
    reasons = [line for line in remote if line] or reasons or lines[-1:]
    if not any(reasons):
        full = shutil.disk_usage(tempfile.gettempdir()).free < FULL_BYTES
        reasons = [NO_SPACE if full else f"exit code {code}"]
    if dubious := DUBIOUS.search(complained):
        reasons = [f"detected dubious ownership; to trust it: {printable(dubious[1])}"]
    text = "\n".join([*own, *refs])
    return GitError(
        verb,
        "; ".join([*reasons[:3], *refused[:1]])[:400],
        busy=bool(BUSY.match(text)),
        unknown=not NOT_TAKEN.search(text),
    )
