"""The commands of docs/SERVING.md, run against a service that it starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from test_serve import png, serving

from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.serving.batching import MAX_QUEUED
from mnistnet.serving.connection import HEADERS_S, MAX_CONNECTIONS
from mnistnet.serving.limits import (
    ANSWER_S,
    BODY_S,
    MAX_BODY_BYTES,
    MAX_HELD_BYTES,
    MAX_PARTS,
    MAX_PIXELS,
)
from mnistnet.serving.monitoring import metrics

PAGE = (Path(__file__).parents[2] / "docs" / "SERVING.md").read_text(encoding="utf-8")
SERVE = "mnistnet serve\n"


def blocks(language: str, port: int) -> list[str]:
    """Return the page's blocks of a language, for a service on another port than the page's."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return [block.replace("127.0.0.1:8000", f"127.0.0.1:{port}") for block in found]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="the page's commands are for a shell")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands use curl")
def test_the_pages_commands_do_what_it_says(tmp_path: Path, images: np.ndarray) -> None:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    for name, image in (("photo.png", images[0]), ("scan.png", images[4])):
        (tmp_path / name).write_bytes(png(image))
    with serving() as (_, address):
        port = int(address.rsplit(":", 1)[1])
        shell = "".join(block for block in blocks("sh", port) if block != SERVE)
        assert SERVE in blocks("sh", port)
        shell = shell.replace("src/mnistnet/models/default", str(DEFAULT_BUNDLE))
        for words in (
            ["bash", "-euo", "pipefail", "-c", shell],
            *([sys.executable, "-c", program] for program in blocks("python", port)),
        ):
            done = subprocess.run(
                words,
                cwd=tmp_path,
                env=os.environ | {"PATH": path},
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            printed = done.stdout
            if words[0] == "bash":
                assert printed.startswith('{"digit":7,')
                assert '{"predictions":[{"digit":7,' in printed
                assert "mnistnet_requests_total" in printed
                assert "Model repository: models" in printed
        assert printed == "(3, 10)\n"


def test_the_page_lists_every_metric_and_the_limits_that_hold() -> None:
    names = {m.describe()[0].name for m in vars(metrics()).values()}
    listed = set(re.findall(r"`(mnistnet_[a-z_]+?)(?:_total)?`", PAGE))
    assert listed == names
    for limit in (
        f"| {MAX_BODY_BYTES >> 20} MiB; all bodies in progress together {MAX_HELD_BYTES >> 20} MiB",
        f"| {MAX_PIXELS // 10**6} megapixels",
        f"| {MAX_PARTS} |",
        f"| {MAX_QUEUED:,}, and as many may wait",
        f"within {HEADERS_S:.0f}, {BODY_S:.0f} and {ANSWER_S:.0f} s",
        f"| {MAX_CONNECTIONS} |",
    ):
        assert limit in PAGE
