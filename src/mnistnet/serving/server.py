"""`mnistnet serve`: a bundle behind HTTP, on uvicorn.

serve(Options(bundle=Path("bundle"), port=8000), print)     # returns after SIGTERM or Ctrl-C
"""

from __future__ import annotations

import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from mnistnet.errors import UsageError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.serving.app import create_app
from mnistnet.serving.served import Current, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What `mnistnet serve` was asked for."""

    bundle: Path = DEFAULT_BUNDLE
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free


def serve(options: Options, report: Callable[[str], None]) -> None:
    """Serve a bundle until SIGTERM, which returns, or Ctrl-C, which raises KeyboardInterrupt.

    Args:
        options: what to serve, and where.
        report: gets one line once requests are accepted.

    Raises:
        BundleError: the bundle fails verification.
        UsageError: the address cannot be listened on.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    current = Current(load(options.bundle))
    listener = _listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    report(f"serving {options.bundle.name}, version {current.served.version}, on {where}")
    config = uvicorn.Config(create_app(current), log_config=None, access_log=False)
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
