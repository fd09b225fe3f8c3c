"""A real smart-HTTP git server: `git http-backend` behind Python's own HTTP server.

with running(GitServer(folder)) as server:
    server.url("registry.git")
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

RESET = 0  # in the place of an HTTP status: the connection is reset
Server = TypeVar("Server", bound=ThreadingHTTPServer)


class Quiet:
    """A server that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 – the base's name
        """Keep quiet."""


class GitServer(ThreadingHTTPServer):
    """Serves every repository in a folder, for reading and writing.

    Attributes:
        loses_answers: how many pushes yet are done but not answered.
        sent_bytes: of all answers so far.
        stalls: whether requests are accepted and never answered.
        failures: what the next requests get instead of git's answers, by "GET read", "GET push"
            and so on: an HTTP status, or RESET.
    """

    request_queue_size = 64
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), GitHandler)
        self.folder = folder
        self.loses_answers = 0
        self.sent_bytes = 0
        self.stalls = False
        self.failures: dict[str, list[int]] = {}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed."""


class GitHandler(Quiet, BaseHTTPRequestHandler):
    """Answers with what git's own program says."""

    server: GitServer

    def do_GET(self) -> None:
        if self.server.stalls:
            self.rfile.read()  # until the client goes away
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = "push" if "git-receive-pack" in self.path else "read"
        if failures := self.server.failures.get(f"{self.command} {service}"):
            self._fail(failures.pop(0))
            return
        head, _, content = self._backend(body).partition(b"\r\n\r\n")
        if self.path.endswith("/git-receive-pack") and self.server.loses_answers:
            self.server.loses_answers -= 1
            return
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for header in headers.items():
            self.send_header(*header)
        self.end_headers()
        self.server.sent_bytes += len(content)
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 – the base's name

    def _fail(self, status: int) -> None:
        if status == RESET:  # closing without a farewell
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.send_response(status)
            self.end_headers()

    def _backend(self, body: bytes) -> bytes:
        address = urlsplit(self.path)
        cgi = {
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "somebody",  # whoever is somebody may push
            "REQUEST_METHOD": self.command,
            "PATH_INFO": address.path,
            "QUERY_STRING": address.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        return subprocess.run(
            ["git", "http-backend"],
            input=body,
            stdout=subprocess.PIPE,
            check=False,
            env=os.environ | cgi,
        ).stdout


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Serve in a thread, to the block's end."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
