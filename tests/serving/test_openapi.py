"""The service's OpenAPI document, by schemathesis: what it says is what the service does."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from test_serve import serving

pytestmark = pytest.mark.slow  # sends a thousand requests

# 400: a schema cannot say that a tensor has as many data as its shape says, or that a body is a
# picture. The version is the one that is served; any other is not found.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "413", "415"]
[parameters]
"path.model_version" = "{version}"
"""


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with serving("--collect", tmp_path / "misread") as (_, address):
        with urllib.request.urlopen(f"{address}/v2/models/digit", timeout=60) as answer:
            (version,) = json.load(answer)["versions"]
        (tmp_path / "config.toml").write_text(CONFIG.format(version=version))
        words = ["--config-file", "config.toml", "run", f"{address}/openapi.json", "--no-color"]
        command = [sys.executable, "-m", "schemathesis.cli", *words, "-n", "50", "--seed", "1"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
