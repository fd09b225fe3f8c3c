"""The service on Ray Serve: on a cluster of its own, on this machine, by Ray's own command."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from releases import Python
from test_serve import png

from mnistnet.errors import UsageError
from mnistnet.inference.predictor import Predictor

# Starts a cluster, has Ray's command run the application on it, asks that, and ends both.
PROGRAM = """
import json, signal, socket, subprocess, sys, time, urllib.request
from mnistnet.serving.ray import app  # before ray: it turns usage reports off
import ray
from ray import serve
from ray._common.usage.usage_lib import usage_stats_enabled

folder, command, picture = sys.argv[1:]
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
cluster = ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
    object_store_memory=100_000_000, _temp_dir=folder,
)
assert not usage_stats_enabled()
serve.start(http_options={"host": "127.0.0.1", "port": port})
words = [command, "run", "mnistnet.serving.ray:app", "--address", cluster.address_info["address"]]
running = subprocess.Popen(words, stdout=sys.stderr)
try:
    while True:
        assert running.poll() is None, "Ray's command has ended"
        try:
            ready = urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=60)
            break
        except OSError:  # not yet
            time.sleep(0.2)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", open(picture, "rb").read())
    with urllib.request.urlopen(request, timeout=60) as answer:
        open(f"{picture}.json", "wb").write(answer.read())
finally:
    running.send_signal(signal.SIGINT)
    running.wait()
    serve.shutdown()
    ray.shutdown()
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path for Ray's sockets, and its home: it writes a token there."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on loopback, as there
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ray's cluster on one machine needs POSIX")
def test_rays_command_runs_the_service(folder: Path, python: Python, images: object) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mnistnet[scale]'")
    picture = folder / "digit.png"
    picture.write_bytes(png(images[4]))  # type: ignore[index]
    command = Path(sys.executable).with_name("serve")
    done = python(PROGRAM, folder, command, picture)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = Predictor().predict(picture)
    answer = json.loads(picture.with_suffix(".png.json").read_bytes())
    assert answer["digit"] == expected.digit
    assert answer["probabilities"] == pytest.approx(expected.probabilities.tolist(), abs=1e-6)


def test_usage_reports_are_off_before_ray_is_imported(
    python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import os, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == "ray":
            print("ray:", os.environ["RAY_USAGE_STATS_ENABLED"])
            sys.exit()
sys.meta_path.insert(0, Finder)
import mnistnet.serving.ray
"""
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    assert python(program).stdout.splitlines() == ["ray: 0"]
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")  # its user's choice
    assert python(program).stdout.splitlines() == ["ray: 1"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"replica": "2"}, {"replicas": "0"}, {"replicas": "two"}])
def test_an_option_that_is_not_possible_is_named(options: dict[str, str]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mnistnet[scale]'")
    from mnistnet.serving.ray import build

    with pytest.raises(UsageError, match=next(iter(options))):
        build(options)
