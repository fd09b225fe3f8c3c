"""A client's connection: who sends no request, sends it slowly, or takes no answer is dropped.

uvicorn.Config(app, http=Connection)

uvicorn itself only drops connections that are idle after an answer. Bodies and answers have their
limits in `limits.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mnistnet.serving.limits import ANSWER_S, MAX_DROPPED_BYTES

if TYPE_CHECKING:
    import asyncio

HEADERS_S = 15.0  # for a request's headers, after the connection or the answer before
MAX_HEADERS_BYTES = 64 * 2**10
MAX_CONNECTIONS = 512  # of a worker; a process may usually open 1,024 files
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: 34\r\n\r\n"
    b'{"error":"too many are connected"}'
)


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits of time and size on all that a client sends and takes."""

    _timer: asyncio.TimerHandle | None = None
    _in_headers = True
    _received = 0  # bytes, since the last headers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, or refuse the connection if there are too many."""
        super().connection_made(transport)
        self._abort_in(HEADERS_S)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, or drop the client if it is too large."""
        self._received += len(data)
        super().data_received(data)
        if self._received > (MAX_HEADERS_BYTES if self._in_headers else 2 * MAX_DROPPED_BYTES):
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin with the headers of a request."""
        self._in_headers = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; ignore those after the body."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._in_headers = False
        self._received = 0
        self._cancel()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the client to take this answer."""
        super().on_response_complete()
        if self.cycle.response_complete:  # else the next one is here already
            self._abort_in(HEADERS_S)

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answer."""
        super().pause_writing()
        self._abort_in(ANSWER_S)

    def resume_writing(self) -> None:
        """Go on sending, or wait for the next request."""
        super().resume_writing()
        self._cancel()
        if self.cycle.response_complete:
            self._abort_in(HEADERS_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel()
        super().connection_lost(exc)

    def _abort_in(self, seconds: float) -> None:
        self._cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
