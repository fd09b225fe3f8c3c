"""`mnistnet serve` as a process: it starts, answers, refuses, and stops."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np


@contextmanager
def serving(
    *words: object, stderr: IO[bytes] | int | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the service on a free port; yield its process and address."""
    command = [sys.executable, "-m", "mnistnet", "serve", "--port", "0", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout
        yield process, process.stdout.readline().rsplit(" ", 1)[-1].strip()
    finally:
        process.kill()
        process.communicate()


def png(image: np.ndarray) -> bytes:
    """Return a 28×28 image as the bytes of a PNG."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def test_a_digit_is_read_over_http_and_sigterm_ends_the_service(
    images: np.ndarray, labels: np.ndarray
) -> None:
    with serving() as (process, address):
        with urllib.request.urlopen(f"{address}/predict", png(images[0]), timeout=60) as answer:
            assert json.load(answer)["digit"] == labels[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_port_in_use_is_one_line(run: Callable[..., object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", port)
    assert done.code == 2
    assert f"127.0.0.1:{port}: cannot be listened on" in done.err


def test_a_bundle_that_fails_verification_is_one_line(
    run: Callable[..., object], bundle: Path
) -> None:
    (bundle / "digit.onnx").write_bytes(b"")
    done = run("serve", "--bundle", bundle, "--port", 0)
    assert done.code == 2
    assert "digit.onnx" in done.err


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "prometheus_client"])
def test_a_missing_extra_is_one_line(python: Callable[..., object], missing: str) -> None:
    done = python(f"""
import sys
sys.modules[{missing!r}] = None
from mnistnet.cli import main
main(["serve"])
""")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"mnistnet: {missing} is not installed; this needs: pip install 'mnistnet[serve]'"
    ]
