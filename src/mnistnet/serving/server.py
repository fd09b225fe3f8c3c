"""`mnistnet serve`: a bundle behind HTTP, on uvicorn.

serve(Options(bundle=Path("bundle"), port=8000), print)     # returns after SIGTERM or Ctrl-C
"""

from __future__ import annotations

import signal
import socket
import sys
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

import uvicorn

from mnistnet.errors import UsageError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.serving.app import create_app
from mnistnet.serving.collecting import Collection
from mnistnet.serving.following import fetch, follow
from mnistnet.serving.served import Current, load
from mnistnet.text import without_password

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnistnet.serving.following import Source


@dataclass(frozen=True)
class Options:
    """What `mnistnet serve` was asked for."""

    bundle: Path = DEFAULT_BUNDLE
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    source: Source | None = None  # a registry, whose champion is served instead of the bundle
    follow_every_s: float | None = None  # how often to look for another champion; None: never
    collect: Path | None = None  # where pictures that were misread are kept


def serve(options: Options, report: Callable[[str], None]) -> None:
    """Serve a bundle until SIGTERM, which returns, or Ctrl-C, which raises KeyboardInterrupt.

    Args:
        options: what to serve, and where.
        report: gets one line once requests are accepted.

    Raises:
        BundleError: the bundle fails verification.
        FileError: pictures cannot be kept where they should be.
        UsageError: the address cannot be listened on.
        MnistNetError: the champion cannot be fetched; see `fetch`.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    collection = Collection(options.collect) if options.collect else None
    source = options.source
    current = Current(fetch(source) if source else load(options.bundle))
    listener = _listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    name = without_password(source.remote) if source else options.bundle.name
    report(f"serving {name}, version {current.served.version}, on {where}")
    if source and options.follow_every_s:
        follower = partial(follow, source, current, every_s=options.follow_every_s)
        Thread(target=follower, name="follow", daemon=True).start()
    config = uvicorn.Config(create_app(current, collection), log_config=None, access_log=False)
    uvicorn.Server(config).run([listener])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{host}:{port}: cannot be listened on ({reason}); choose another --port"
        ) from None
