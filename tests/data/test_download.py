"""Every mirror here is a real HTTP server on this machine, with manners good or bad."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import subprocess
import sys
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnistnet.data import download as downloading
from mnistnet.data.download import download
from mnistnet.data.mnist import KnownFile
from mnistnet.errors import DataError, FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RAW = np.random.default_rng(0).bytes(400_000)
GZIPPED = gzip.compress(RAW, mtime=0)
FILE = KnownFile("noise", len(RAW), hashlib.sha256(RAW).hexdigest())
HALF = len(GZIPPED) // 2
BOMB = gzip.compress(bytes(100_000_000))


# Manners: each answers one request


def serve(request: Request, *, size: int | None = None) -> None:
    """Answer as a good server does; with `size`, stop after so many bytes of the file."""
    start = request.first_byte
    if start >= len(request.content):
        request.send_error(416)
        return
    request.send_response(206 if start else 200)
    request.send_header("Content-Length", str(len(request.content) - start))
    if start:
        last = len(request.content) - 1
        request.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
    request.end_headers()
    request.wfile.write(request.content[start:size])


def break_off(request: Request) -> None:
    serve(request, size=HALF)


def stall(request: Request) -> None:
    serve(request, size=HALF)
    request.wfile.flush()
    request.server.closing.wait()


def say_nothing(request: Request) -> None:
    request.server.closing.wait()


def ignore_range(request: Request) -> None:
    request.send_response(200)  # and without a Content-Length
    request.end_headers()
    request.wfile.write(request.content)


def send_another_part(request: Request) -> None:
    request.send_response(206)
    request.send_header(
        "Content-Range", f"bytes 7-{len(request.content) - 1}/{len(request.content)}"
    )
    request.end_headers()
    request.wfile.write(request.content[7:])


def corrupt(request: Request) -> None:
    request.content = request.content[:-20] + bytes(20)
    serve(request)


def send_other_data(request: Request) -> None:
    request.content = gzip.compress(RAW[::-1])
    serve(request)


def send_a_bomb(request: Request) -> None:
    request.content = BOMB
    serve(request)


def never_end(request: Request) -> None:
    request.send_response(200)
    request.end_headers()
    while not request.server.closing.is_set():
        request.wfile.write(bytes(1 << 16))


def drip(request: Request) -> None:
    request.send_response(200)
    request.end_headers()
    while not request.server.closing.wait(0.01):
        request.wfile.write(b"\x1f")


def have_nothing(request: Request) -> None:
    request.send_error(404)


def redirect_to_a_file(request: Request) -> None:
    request.send_response(302)
    request.send_header("Location", f"ftp://127.0.0.1{request.path}")
    request.end_headers()


def speak_no_http(request: Request) -> None:
    request.wfile.write(b"\x1b[31mGO AWAY\r\n\r\n")


# The servers


class Request(http.server.BaseHTTPRequestHandler):
    server: Mirror
    content: bytes
    first_byte: int

    def do_GET(self) -> None:
        self.content = self.server.files.get(self.path.rpartition("/")[2], b"")
        asked = self.headers.get("Range")
        self.first_byte = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        try:
            self.server.next_manner(self.path, self.first_byte)(self)
        except ConnectionError:
            self.close_connection = True  # the client has had enough

    def log_message(self, *_: object) -> None:
        pass


class Mirror(http.server.ThreadingHTTPServer):
    """Answers its first request with the first manner, and so on; the last one stays."""

    def __init__(self, *manners: Callable[[Request], None]) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.manners = list(manners)
        self.files = {"noise.gz": GZIPPED}
        self.asked: list[tuple[str, int]] = []  # path, first byte
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/mnist/"

    def next_manner(self, path: str, first_byte: int) -> Callable[[Request], None]:
        with self.lock:
            self.asked.append((path, first_byte))
            return self.manners.pop(0) if len(self.manners) > 1 else self.manners[0]


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Mirror]]:
    """Starts servers, and stops them when the test ends."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started = []

    def start(*manners: Callable[[Request], None]) -> Mirror:
        server = Mirror(*manners)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fetch(cache: Path, *mirrors: Mirror | str, timeout_s: float = 20) -> None:
    urls = [mirror if isinstance(mirror, str) else mirror.url for mirror in mirrors]
    download(cache, mirrors=urls, files=[FILE], timeout_s=timeout_s)


def assert_fetched(cache: Path) -> None:
    assert gzip.decompress((cache / "noise.gz").read_bytes()) == RAW
    assert [file.name for file in cache.iterdir()] == ["noise.gz"]


# A good mirror


def test_a_file_is_fetched_verified_and_nothing_else_is_left(mirror, cache, capfd):
    server = mirror(serve)

    fetch(cache, server)

    assert_fetched(cache)
    assert server.asked == [("/mnist/noise.gz", 0)]
    assert capfd.readouterr() == ("", "")  # no bar where there is no terminal


def test_a_file_that_is_there_is_not_fetched_again(mirror, cache):
    server = mirror(serve)
    fetch(cache, server)

    fetch(cache, server)

    assert len(server.asked) == 1


def test_an_address_needs_no_slash_at_its_end(mirror, cache):
    server = mirror(serve)

    fetch(cache, server.url.rstrip("/"))

    assert server.asked == [("/mnist/noise.gz", 0)]


# Connections that break


def test_a_connection_that_breaks_is_resumed_at_the_same_mirror(mirror, cache):
    server, other = mirror(break_off, serve), mirror(serve)

    fetch(cache, server, other)

    assert_fetched(cache)
    assert server.asked == [("/mnist/noise.gz", 0), ("/mnist/noise.gz", HALF)]
    assert other.asked == []


def test_a_mirror_that_keeps_breaking_off_gives_way_to_the_next(mirror, cache):
    server, other = mirror(break_off), mirror(serve)
    server.files["noise.gz"] = GZIPPED

    fetch(cache, server, other)

    assert_fetched(cache)
    assert other.asked == [("/mnist/noise.gz", 0)]  # its gzip may differ: from the beginning


def test_what_an_earlier_download_left_is_resumed(mirror, cache):
    server = mirror(break_off, have_nothing, serve)
    with pytest.raises(DataError):
        fetch(cache, server)

    fetch(cache, server)

    assert_fetched(cache)
    assert server.asked[2] == ("/mnist/noise.gz", HALF)


def test_what_a_killed_process_left_is_resumed(mirror, cache):
    server = mirror(stall, serve)
    process = start_download(cache, server)
    received_bytes = wait_for_part(cache)
    process.kill()
    process.wait()

    fetch(cache, server)

    assert_fetched(cache)
    assert server.asked[1][1] >= received_bytes


def test_a_mirror_that_cannot_resume_is_asked_for_everything(mirror, cache):
    server = mirror(break_off, ignore_range)

    fetch(cache, server)

    assert_fetched(cache)
    assert len(server.asked) == 2


def test_a_beginning_that_has_gone_bad_is_fetched_anew(mirror, cache):
    server = mirror(break_off, have_nothing, serve)
    with pytest.raises(DataError):
        fetch(cache, server)
    (part,) = cache.iterdir()
    part.write_bytes(bytes(HALF))

    fetch(cache, server)

    assert_fetched(cache)
    assert [first_byte for _, first_byte in server.asked] == [0, HALF, HALF, 0]


@pytest.mark.parametrize("content", [GZIPPED, GZIPPED + b"more"])
def test_a_part_that_needs_no_more_bytes_is_used_or_fetched_anew(mirror, cache, content):
    server = mirror(break_off, have_nothing, serve)
    with pytest.raises(DataError):
        fetch(cache, server)
    (part,) = cache.iterdir()
    part.write_bytes(content)

    fetch(cache, server)

    assert_fetched(cache)


# Mirrors that give way to the next


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        (have_nothing, "answers 404"),
        (corrupt, "serves other bytes than MNIST's"),
        (send_other_data, "serves other bytes than MNIST's"),
        (send_a_bomb, "serves other bytes than MNIST's"),
        (never_end, "serves other bytes than MNIST's"),
        (stall, "is silent for 1 s"),
        (say_nothing, "is silent for 1 s"),
        (break_off, "breaks off"),
        (redirect_to_a_file, "cannot be reached"),
        (speak_no_http, "does not speak HTTP"),
        (send_another_part, "another part of the file"),
    ],
)
def test_a_bad_mirror_gives_way_to_the_next_and_alone_is_an_error(mirror, cache, manner, reason):
    bad = mirror(manner)
    timeout_s = 1 if "silent" in reason else 20

    with pytest.raises(DataError) as caught:
        fetch(cache, bad, timeout_s=timeout_s)
    assert f"127.0.0.1:{bad.server_port}" in str(caught.value)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()
    assert not (cache / "noise.gz").exists()

    fetch(cache, bad, mirror(serve), timeout_s=timeout_s)
    assert_fetched(cache)


def test_a_gzip_bomb_is_not_unpacked(mirror, cache):
    server = mirror(send_a_bomb)

    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            fetch(cache, server)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 10_000_000


def test_a_mirror_that_drips_gives_way_though_it_is_never_silent(mirror, cache, monkeypatch):
    monkeypatch.setattr(downloading, "SLOWEST_BYTES_PER_S", 1e9)

    with pytest.raises(DataError, match="is too slow"):
        fetch(cache, mirror(drip), timeout_s=1)


def test_when_all_fail_one_line_says_why_mirror_by_mirror(mirror, cache):
    bad, worse = mirror(have_nothing), mirror(corrupt)

    with pytest.raises(DataError) as caught:
        fetch(cache, bad, "ftp://me:secret@nowhere/", worse, "http://127.0.0.1:1/", "http://[::1/")

    message = str(caught.value)
    assert message.startswith("noise.gz: is not on this machine and cannot be downloaded (")
    assert f"127.0.0.1:{bad.server_port} answers 404; " in message
    assert "nowhere is no http:// or https:// address; " in message
    assert f"127.0.0.1:{worse.server_port} serves other bytes than MNIST's; " in message
    assert "127.0.0.1:1 cannot be reached" in message
    assert "secret" not in message
    assert "--data" in message
    assert "\n" not in message


def test_the_mirror_that_served_one_file_is_asked_first_for_the_next(mirror, cache):
    bad, good = mirror(have_nothing), mirror(serve)
    more = KnownFile("more", FILE.size_bytes, FILE.sha256)
    good.files["more.gz"] = GZIPPED

    download(cache, mirrors=[bad.url, good.url], files=[FILE, more])

    assert len(bad.asked) == 1
    assert len(good.asked) == 2


def test_a_folder_that_cannot_be_written_is_one_line(mirror, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(FileError, match="cannot be written"):
        fetch(tmp_path / "file" / "cache", mirror(serve))


# Two at once


def test_two_processes_that_download_at_once_do_each_other_no_harm(mirror, cache):
    both_are_half_way = threading.Barrier(2)

    def meet(request: Request) -> None:
        serve(request, size=HALF)
        request.wfile.flush()
        both_are_half_way.wait(timeout=60)
        request.wfile.write(request.content[HALF:])

    server = mirror(meet)
    processes = [start_download(cache, server) for _ in range(2)]

    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert [path for path, _ in server.asked] == ["/mnist/noise.gz"] * 2
    assert_fetched(cache)


def start_download(cache: Path, server: Mirror) -> subprocess.Popen[bytes]:
    code = (
        "from pathlib import Path\n"
        "from mnistnet.data.download import download\n"
        "from mnistnet.data.mnist import KnownFile\n"
        f"download(Path({str(cache)!r}), mirrors=[{server.url!r}], files=[{FILE!r}])\n"
    )
    return subprocess.Popen([sys.executable, "-c", code])


def wait_for_part(cache: Path) -> int:
    """Wait until something has been written; give its size in bytes."""
    give_up_s = time.monotonic() + 60
    while time.monotonic() < give_up_s:
        sizes = [part.stat().st_size for part in cache.glob("*.part")]
        if any(sizes):
            return sum(sizes)
        time.sleep(0.01)
    raise AssertionError("nothing was received")
