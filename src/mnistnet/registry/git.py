"""Git, run safely: bounded time, no prompts, no hooks, one line for whatever goes wrong.

run_git(["init", "--bare", folder], environment=environment([]))
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING

from mnistnet.errors import RegistryError
from mnistnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOCAL_TIMEOUT_S = 60
STALLED_S = 30  # this long under 1 kB/s, and an HTTP connection is given up
MAX_OUTPUT_BYTES = 50_000_000
# Lines of standard error that give a reason, but for those that say no more than that it failed.
OWN_WORDS = re.compile(
    r"(?!error: failed to push some refs|fatal: Could not read from remote repository)"
    r"(fatal: |error: |ssh: |Permission denied|Host key)"
)
# They would lead git to another repository, and are set wherever git itself called us.
ELSEWHERE = (
    *("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"),
    *("GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_QUARANTINE_PATH"),
)


class GitFailed(RegistryError):  # noqa: N818 – named for what happened
    """Git did not do what it was asked for; `reason` is what it said, in one line."""

    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"git {verb} failed ({reason})")
        self.reason = reason


def environment(config: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Give the environment for git in a private repository, with some configuration."""
    variables = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    variables |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # English, for `_reason`
    variables.setdefault("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")  # ext runs anything
    config = [
        *config,
        ("http.lowSpeedLimit", "1000"),
        ("http.lowSpeedTime", str(STALLED_S)),
        ("protocol.ext.allow", "never"),
        ("fetch.fsckObjects", "true"),
        ("i18n.commitEncoding", "UTF-8"),
        ("push.gpgSign", "false"),
        ("user.useConfigOnly", "true"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
    ]
    first = variables.get("GIT_CONFIG_COUNT", "")
    count = int(first) if first.isdigit() else 0
    for key, value in config:
        variables |= {f"GIT_CONFIG_KEY_{count}": key, f"GIT_CONFIG_VALUE_{count}": value}
        count += 1
    return variables | {"GIT_CONFIG_COUNT": str(count)}


def run_git(
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
    timeout_s: int = LOCAL_TIMEOUT_S,
    given: bytes = b"",
) -> bytes:
    """Run git. Files, not pipes: a grandchild that lives on cannot keep us waiting for their end.

    Raises:
        GitFailed: it failed, was not done in time, or has too much to say.
        RegistryError: it is not installed.
    """
    git = shutil.which("git")
    if git is None:
        raise RegistryError(
            "git is not installed, and it keeps the models; install it from https://git-scm.com"
        )
    with _scratch() as source, _scratch() as out, _scratch() as err:
        source.write(given)
        source.seek(0)
        process = subprocess.Popen(  # noqa: S603 – no shell, and no word of the user's is an option
            [git, *words],
            stdin=source,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise GitFailed(words[0], f"no answer within {timeout_s} s") from None
        finally:
            _end(process)
        output, complaint = _start_of(out), _start_of(err)
    if code != 0:
        raise GitFailed(words[0], _reason(output, complaint) or f"exit code {code}")
    if len(output) > MAX_OUTPUT_BYTES:
        raise GitFailed(words[0], f"more than {MAX_OUTPUT_BYTES:,} bytes of output")
    return output


def _scratch() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _start_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAX_OUTPUT_BYTES + 1)


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
    """Find why git failed in what it wrote: what the other side says, or else git itself.

    Args:
        output: of `push --porcelain`, whose lines of refused refs start with an exclamation mark.
        complaint: what it wrote to standard error.
    """
    lines = [printable(line) for line in complaint.decode(errors="replace").splitlines()]
    refs = output.decode(errors="replace").splitlines()
    refused = [printable(line.rsplit("\t", 1)[-1]) for line in refs if line.startswith("!")]
    said = [line[8:].strip() for line in lines if line.startswith("remote: ")]
    own = [re.sub(r"^(fatal|error): ", "", line) for line in lines if OWN_WORDS.match(line)]
    words = [word for word in said if word] or own or lines[-1:]
    return "; ".join([*words[:3], *refused[:1]])[:400]
