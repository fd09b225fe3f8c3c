"""No library of ours leaves a trace on the machine, or asks anybody on the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Stands in for the system's look-up of host names, and writes down what is asked.
LOOKUPS = """
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    FILE *log = fopen(getenv("LOOKUPS"), "a");
    if (log) fprintf(log, "%s\\n", name ? name : "-"), fclose(log);
    return EAI_NONAME;
}
"""
USES = {
    "verb": ["-m", "mnistnet", "predict", "digit.png"],
    "Predictor": ["-c", "from mnistnet import Predictor; Predictor().predict('digit.png')"],
}


@pytest.fixture(scope="module")
def spy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library to preload that logs look-ups; skipped where it cannot be made."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("watching look-ups needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("spy")
    (folder / "spy.c").write_text(LOOKUPS)
    library = folder / "spy.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "spy.c"], check=True)
    return library


def run(words: list[str], folder: Path, spy: Path) -> tuple[set[str], str]:
    """Run Python where there is nothing but a picture; return the files then, and look-ups."""
    Image.fromarray(np.full((60, 60), 255, np.uint8)).save(folder / "digit.png")
    home = {name: str(folder) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    unset = ("ORT_", "MLFLOW_", "PYTEST_", "CI", "GITHUB_")  # in CI some libraries keep quiet
    variables = {k: v for k, v in os.environ.items() if not k.startswith(unset)}
    variables |= home | {"LD_PRELOAD": str(spy), "LOOKUPS": str(folder / "lookups")}
    subprocess.run([sys.executable, *words], cwd=folder, env=variables, check=True)
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    log = folder / "lookups"
    return files, log.read_text() if log.exists() else ""


@pytest.mark.parametrize("use", USES)
def test_a_prediction_writes_no_file_and_looks_up_no_host(
    use: str, spy: Path, tmp_path: Path
) -> None:
    assert run(USES[use], tmp_path, spy) == ({"digit.png"}, "")


def test_the_spy_sees_a_look_up(spy: Path, tmp_path: Path) -> None:
    look_up = "import socket\ntry: socket.getaddrinfo('host.invalid', 80)\nexcept OSError: pass"
    files, looked_up = run(["-c", look_up], tmp_path, spy)
    assert (files, looked_up) == ({"digit.png", "lookups"}, "host.invalid\n")


@pytest.mark.slow
def test_a_run_that_is_tracked_writes_only_its_own_files_and_looks_up_no_host(
    spy: Path, tiny: Path, tmp_path: Path
) -> None:
    train = ["-m", "mnistnet", "train", "--batch-size", "50", "--engine", "torch"]
    trackers = ["--tracker", "tensorboard", "--tracker", "mlflow"]
    _, looked_up = run([*train, "--data", str(tiny), *trackers], tmp_path, spy)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("digit.png", "runs", "mlflow.db", "mlartifacts")
    }
    assert looked_up == ""
