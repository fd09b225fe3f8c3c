"""The image's commands, run here on what its build would see; there need be no Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PLACE = "/opt/mnistnet"

pytestmark = [
    pytest.mark.slow,  # makes an environment and fills it with pip
    pytest.mark.skipif(sys.platform == "win32", reason="the image's commands are for a shell"),
]


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and what follows each, in one line."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line]  # type: ignore[misc]


def one(word: str, number: int = 0) -> str:
    return [rest for name, rest in instructions() if name == word][number]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files that .dockerignore lets into the build."""
    folder = tmp_path_factory.mktemp("context")
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        parts = name.split("/")
        paths = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        ignored = False
        for rule in filter(lambda rule: rule and rule[0] != "#", rules):
            pattern = rule.removeprefix("!").removeprefix("**/")
            names = parts if "**/" in rule else paths
            if any(fnmatch(each, pattern) for each in names):
                ignored = not rule.startswith("!")
        if not ignored:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def environment(context: Path) -> Path:
    """What the build's first stage leaves for the last one."""
    place = context / "opt"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        one("RUN").replace(PLACE, str(place)),
        shell=True,
        cwd=context,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_the_build_sees_what_it_installs_and_no_more(context: Path) -> None:
    assert {entry.name for entry in context.iterdir()} - {"opt"} == {
        *("CMakeLists.txt", "LICENSE", "README.md", "constraints.txt", "pyproject.toml", "src")
    }


def test_every_stage_ends_with_a_user_who_is_not_root() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]
    bases = {stage.split()[0] for stage in stages} - {"base"}
    assert [re.fullmatch(r"python:[0-9.]+-slim-[a-z]+@sha256:[0-9a-f]{64}", b) for b in bases]
    final = [stage for stage in stages if stage.startswith("base ")]
    assert len(final) == 2
    for stage in final:
        assert stage.strip().splitlines()[-1] == "USER 65532:65532"


def test_the_service_starts_is_healthy_and_ends(environment: Path) -> None:
    words = [*json.loads(one("ENTRYPOINT")), "--port", "0"]
    words = [word.replace("0.0.0.0", "127.0.0.1") for word in words]
    env = {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        port = process.stdout.readline().strip().rsplit(":", 1)[-1]
        check = json.loads(one("HEALTHCHECK").partition("CMD")[2])
        check = [word.replace("8000", port) for word in check]
        assert subprocess.run(check, env=env, check=False).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert subprocess.run(check, env=env, capture_output=True, check=False).returncode != 0
    finally:
        process.kill()
        process.communicate()
