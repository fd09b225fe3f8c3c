"""What a client may take: bytes, seconds, memory. Past a limit its request is refused.

    app.add_middleware(Limits)      # the application gets whole bodies, of at most MAX_BODY_BYTES

How long headers may take, and how many connections there may be, is in `connection.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from mnistnet.text import printable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16 * 2**20  # of a request; photographs are of 2 to 12 MB
MAX_HELD_BYTES = 16 * MAX_BODY_BYTES  # of the bodies of all requests in progress
MAX_PIXELS = 25_000_000  # of a picture; decoded and prepared it takes 0.4 GB
MAX_PARTS = 32  # pictures in a multipart body
BODY_S = 60.0  # for a body to arrive
ANSWER_S = 30.0  # for an answer to be computed and taken, once the body is there
# Of a larger body this much is read and dropped: most clients read no answer before they have sent
# all of it, and would see a broken connection.
MAX_DROPPED_BYTES = 4 * MAX_BODY_BYTES
TOO_LARGE = f"the body is over {MAX_BODY_BYTES >> 20} MiB; send less at once"
BUSY = "the service is too busy; try again in a second"

# Of an answer that says nothing else itself.
HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
}


class _RefusedError(Exception):
    """A request that is past a limit."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class Limits:
    """Hands whole bodies to an ASGI application, and refuses requests past a limit.

    Every answer gets HEADERS.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; nobody is answered who has left before the whole body was there."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = arrived = False

        async def sent(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = message.setdefault("headers", [])
                said = {name for name, _ in headers}
                message["headers"] = [*headers, *(h for h in HEADERS.items() if h[0] not in said)]
            await send(message)

        async def refuse(status: int, problem: str) -> None:
            response = failure(status, problem)
            response.headers["Connection"] = "close"
            await response(scope, receive, sent)

        body: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_S) as limit:
                if not await self._read(scope, receive, body):
                    return None
                arrived = True
                limit.reschedule(asyncio.get_running_loop().time() + ANSWER_S)
                await self._app(scope, _replay(b"".join(body), receive), sent)
        except _RefusedError as refused:
            await refuse(refused.status, str(refused))
        except TimeoutError:
            if started:  # the client does not take it
                raise
            late = f"the body did not arrive within {BODY_S:.0f} s"
            await (refuse(503, BUSY) if arrived else refuse(408, late))
        finally:
            self._held_bytes -= sum(map(len, body))

    async def _read(self, scope: Scope, receive: Receive, body: list[bytes]) -> bool:
        """Read a body into `body`; return False if the client has left before its end."""
        headers = dict(scope["headers"])
        more = b"transfer-encoding" in headers
        if length := int(headers.get(b"content-length", b"0")):
            more = True
            waits = headers.get(b"expect", b"").lower() == b"100-continue"
            if length > MAX_DROPPED_BYTES or (waits and length > MAX_BODY_BYTES):
                raise _RefusedError(413, TOO_LARGE)
        n = 0
        while more and n <= MAX_DROPPED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            n += len(message["body"])
            if n <= MAX_BODY_BYTES:
                body.append(message["body"])
                self._held_bytes += len(message["body"])
            if self._held_bytes > MAX_HELD_BYTES:
                raise _RefusedError(503, BUSY)
            more = message["more_body"]
        if n > MAX_BODY_BYTES:
            raise _RefusedError(413, TOO_LARGE)
        return True


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a whole body first, then what happens to the connection."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def failure(status: int, problem: str) -> JSONResponse:
    """Return the answer to a request that is not served; where the service is busy, try again."""
    headers = {"Retry-After": "1"} if status == 503 else {}
    return JSONResponse({"error": printable(problem)}, status, headers)
