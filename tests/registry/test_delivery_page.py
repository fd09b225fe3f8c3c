"""The commands of docs/DELIVERY.md, run, in a fresh clone of a repository over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from git_server import GitServer
from releases import RULES, git, refs

from mnistnet.bundle.verify import verify

PAGE = (Path(__file__).parents[2] / "docs" / "DELIVERY.md").read_text(encoding="utf-8")


@pytest.fixture
def walker(clone: Path, server: GitServer, few_digits: Path) -> Path:
    """A clone with so few digits, and such rules for them, that the walk takes a minute or two."""
    git(clone, "remote", "set-url", "origin", server.url("registry.git"))
    (clone / "gates.toml").write_text(RULES, encoding="utf-8")
    shutil.copytree(few_digits, clone / "data" / "mnist")
    return clone


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="the page's commands are for a shell")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="the walk makes a key with openssl")
def test_the_walk_leads_where_the_page_says(walker: Path, registry: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) >= 6
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(blocks)],
        cwd=walker,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    printed = done.stdout
    assert done.returncode == 0, printed + done.stderr
    assert "first: would be published as v1, the first" in printed
    assert "second: published as v2, in place of v1" in printed
    assert "worse: refused; the champion stays v2\nrefused\n" in printed
    assert "champion: signed by the owner of public.pem" in printed
    assert "v2 minus v1" in printed
    assert "v2: was trained from the same inputs as here; there is nothing to train" in printed
    assert "champion: was trained from the same inputs as here" in printed
    answers = (walker / "answer.txt").read_text(encoding="utf-8")
    assert answers == "train=false\nexport=false\n"
    assert (walker / "again" / "manifest.json").read_bytes() == (
        walker / "champion" / "manifest.json"
    ).read_bytes()
    assert "champion: trained again to the same weights, bit for bit" in printed
    assert re.search(
        r"^\* v3 .* rollback to v1 .*\n  v2 .*; withdrawn by v3 .*\n  v1 ", printed, re.M
    )
    assert sorted(refs(registry)) == [
        "refs/heads/models",
        *(f"refs/tags/model/v{number}" for number in (1, 2, 3)),
    ]
    assert verify(walker / "old") != verify(walker / "champion")
