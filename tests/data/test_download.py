"""Every mirror here is a real HTTP server on this machine, well or badly behaved."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from git_server import Quiet, running

from mnistnet import data as datasets
from mnistnet.data import download as downloading
from mnistnet.data.download import download
from mnistnet.errors import DataError, FileError

RAW = np.random.default_rng(0).bytes(400_000)
GZIPPED = gzip.compress(RAW, mtime=0)
BOMB = gzip.compress(bytes(100_000_000), compresslevel=1)
FILES = dict.fromkeys(("one", "two"), hashlib.sha256(RAW).hexdigest())


class Request(Quiet, http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        try:
            self.server.behaviour(self)
        except ConnectionError:
            self.close_connection = True  # the client has had enough

    def send(self, content: bytes, *, length: int | None = None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)


class Mirror(http.server.ThreadingHTTPServer):
    def __init__(self, behaviour: Callable[[Request], None]) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.behaviour = behaviour
        self.asked: list[str] = []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/mnist/"


def send_for_ever(request: Request, chunk: bytes, pause_s: float = 0) -> None:
    request.send(b"")
    while not request.server.closing.wait(pause_s):
        request.wfile.write(chunk)


def stall(request: Request) -> None:
    request.send(GZIPPED[:200_000], length=len(GZIPPED))
    request.wfile.flush()
    request.server.closing.wait()


def serve(request: Request) -> None:
    request.send(GZIPPED, length=len(GZIPPED))


def redirect_to_a_file(request: Request) -> None:
    request.send_response(302)
    request.send_header("Location", "file:///etc/passwd")
    request.end_headers()


BAD = {  # behaviour → what it does, and the reason that is named
    "no file": (lambda r: r.send_error(404), "HTTP Error 404"),
    "corrupt": (lambda r: r.send(GZIPPED[:-20] + bytes(20)), "serves other bytes than MNIST's"),
    "no end": (lambda r: send_for_ever(r, bytes(1 << 16)), "serves other bytes"),
    "drips": (lambda r: send_for_ever(r, b"\x1f", 0.01), "is too slow"),
    "stalls": (stall, "timed out"),
    "silent": (lambda r: r.server.closing.wait(), "timed out"),
    "breaks off": (lambda r: r.send(GZIPPED[:200_000], length=len(GZIPPED)), "breaks off"),
    "redirects": (redirect_to_a_file, "not allowed"),
    "no HTTP": (lambda r: r.wfile.write(b"\x1b[31mGO AWAY\r\n\r\n"), "GO AWAY"),
}


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Mirror]]:
    """Starts servers, and stops them when the test ends."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ExitStack() as started:

        def start(behaviour: Callable[[Request], None]) -> Mirror:
            server = started.enter_context(running(Mirror(behaviour)))
            started.callback(server.closing.set)
            return server

        yield start


def fetch(cache: Path, *mirrors: Mirror, timeout_s: float = 20) -> None:
    download(cache, mirrors=[m.url for m in mirrors], files=FILES, timeout_s=timeout_s)


def test_each_file_is_fetched_once_from_the_first_mirror_that_has_it(mirror, tmp_path, capfd):
    server = mirror(lambda r: serve(r) if r.path.endswith("one.gz") else r.send_error(404))
    other = mirror(serve)

    fetch(tmp_path, server, other)
    fetch(tmp_path, server, other)

    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == dict.fromkeys(
        ("one.gz", "two.gz"), GZIPPED
    )
    assert (server.asked, other.asked) == (["/mnist/one.gz", "/mnist/two.gz"], ["/mnist/two.gz"])
    assert capfd.readouterr() == ("", "")  # no bar where there is no terminal


def test_mnist_is_downloaded_into_the_cache_and_found_there(
    mirror, elsewhere, tmp_path, monkeypatch, mnist
):
    server = mirror(lambda r: r.send((Path(mnist.source) / Path(r.path).name).read_bytes()))
    monkeypatch.setenv("MNISTNET_MIRRORS", f"http://127.0.0.1:1/ {server.url}")

    downloaded = datasets.load()

    assert downloaded.sha256 == mnist.sha256
    assert downloaded.source == datasets.load().source == str(tmp_path / "cache")
    assert len(server.asked) == 4
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("behaviour", BAD)
def test_a_bad_mirror_is_named_with_the_reason(mirror, tmp_path, monkeypatch, behaviour):
    monkeypatch.setattr(downloading, "MAX_BYTES", 1_000_000)  # not 47 MB
    monkeypatch.setattr(downloading, "MAX_DURATION_S", 0.1 if behaviour == "drips" else 600)
    timeout_s = 0.1 if behaviour in ("stalls", "silent") else 20
    does, reason = BAD[behaviour]
    bad = mirror(does)

    with pytest.raises(DataError) as caught:
        fetch(tmp_path, bad, timeout_s=timeout_s)
    assert f"127.0.0.1:{bad.server_port}" in str(caught.value)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_a_gzip_bomb_is_not_decompressed(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "MAX_BYTES", 1_000_000)
    server = mirror(lambda r: r.send(BOMB))

    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="serves other bytes"):
            fetch(tmp_path, server)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 10_000_000


def test_when_no_mirror_serves_one_line_says_why_without_a_password(tmp_path, mirror):
    addresses = ["ftp://me:secret@nowhere/", "http://127.0.0.1:1", "http://[::1/", "http://a b/"]

    with pytest.raises(DataError) as caught:
        download(tmp_path, mirrors=[mirror(lambda r: r.send(b"")).url, *addresses], files=FILES)

    message = str(caught.value)
    assert message.startswith("one.gz: is not on this machine and cannot be downloaded (http://127")
    assert "ftp://nowhere/: is no http:// or https:// address; " in message
    assert "http://127.0.0.1:1: " in message
    assert "secret" not in message
    assert "--data" in message
    assert message.isprintable()


def test_a_folder_that_cannot_be_written_is_one_line(mirror, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(FileError, match="cannot be written"):
        fetch(tmp_path / "file" / "cache", mirror(serve))
