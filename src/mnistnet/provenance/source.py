"""Ask git for the commit of the package's source."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import mnistnet

LOG = logging.getLogger(__name__)


def source_commit() -> dict[str, str | bool | None]:
    """Return the commit of the package's source, and whether it was changed since.

    It is the one that is checked out: the last one that touched the package is another in a
    shallow clone, whose first commit seems to have touched everything. Logs a warning where there
    is a clone that git does not read.
    """
    folder = Path(mnistnet.__file__).parent
    try:
        if not _git(folder, "ls-files", "--", "."):  # an installed package
            return {"commit": None, "dirty": False}
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--", "."))
    except (OSError, subprocess.SubprocessError) as error:
        if (folder.parents[1] / ".git").exists():
            LOG.warning("%s: no commit is recorded: %s", folder.parents[1], _reason(error))
        return {"commit": None, "dirty": False}
    return {"commit": commit, "dirty": dirty}


def _git(folder: Path, *words: str) -> str:
    """Return what git prints. Raises OSError or SubprocessError."""
    git = shutil.which("git")
    if git is None:
        raise FileNotFoundError("git is not installed; install it")
    done = subprocess.run(  # noqa: S603 – fixed words
        [git, "-C", str(folder), *words],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    """Return why git failed, and git's own advice, which is its last line."""
    lines = [line.strip() for line in str(getattr(error, "stderr", "") or error).splitlines()]
    return "; ".join(dict.fromkeys((lines[0], lines[-1]))) if lines else "git says nothing"
