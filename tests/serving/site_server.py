"""Serves a folder below a path, as hosts of static sites do, and writes down what is asked.

with serving(folder) as server:
    page.goto(server.url)

As a browser's proxy it sees all that the browser asks of anybody, and answers for itself alone.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "/mnistnet/"
HELD_BYTES = 2_500_000


class Handler(SimpleHTTPRequestHandler):
    """Answers GET; other methods, and what is asked of other hosts, are refused."""

    server: SiteServer

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.server.asked.append(f"{self.command} {self.path}")
        self.path = self.path.removeprefix(self.server.origin)  # as a proxy is asked
        if self.path.startswith(PATH) and self.server.answers(self.path):
            return True
        self.send_error(404)
        return False

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if self.path.endswith(tuple(self.server.held)):
            outputfile.write(source.read(HELD_BYTES))
            outputfile.flush()
            self.server.release.wait()
        super().copyfile(source, outputfile)

    def translate_path(self, path: str) -> str:
        self.directory = str(self.server.folder)
        return super().translate_path(path.removeprefix(PATH.rstrip("/")))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SiteServer(ThreadingHTTPServer):
    """Serves `folder`, which may be changed meanwhile.

    Files in `missing` are not found; of those in `held` the first megabytes are sent, and the rest
    after `release`.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder
        self.asked: list[str] = []  # method and address of each request
        self.missing: set[str] = set()
        self.held: set[str] = set()
        self.release = threading.Event()
        self.origin = f"http://127.0.0.1:{self.server_address[1]}"
        self.url = self.origin + PATH

    def handle_error(self, *_: object) -> None:
        """Say nothing of browsers that hang up."""

    def answers(self, path: str) -> bool:
        return not path.endswith(tuple(self.missing))


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[SiteServer]:
    """Serve a folder until the block ends."""
    server = SiteServer(folder, port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stop(server)


def stop(server: SiteServer) -> None:
    """Answer nobody any more; doing so twice does no harm."""
    server.shutdown()
    server.server_close()
