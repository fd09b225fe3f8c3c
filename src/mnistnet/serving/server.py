"""`mnistnet serve`: a bundle behind HTTP, on uvicorn.

serve(Options(bundle=Path("bundle"), port=8000), print)     # returns after SIGTERM
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from mnistnet.errors import BundleError, MnistNetError, UsageError
from mnistnet.files import scratch_folder
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.serving.app import create_app
from mnistnet.serving.collecting import Collection
from mnistnet.serving.connection import Connection
from mnistnet.serving.following import fetch, follow
from mnistnet.serving.limits import ANSWER_S
from mnistnet.serving.monitoring import FOLDER, forget_dead_processes, log_as_json
from mnistnet.serving.served import Current, load
from mnistnet.text import without_password

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from mnistnet.serving.following import Source
    from mnistnet.serving.served import Served

log = logging.getLogger(__name__)
MEMORY_DISK = Path("/dev/shm")  # noqa: S108 – where there is none, the temporary folder


@dataclass(frozen=True)
class Options:
    """What `mnistnet serve` was asked for."""

    bundle: Path = DEFAULT_BUNDLE
    source: Source | None = None  # a registry, whose champion is served instead of the bundle
    follow_every_s: float | None = None  # how often to look for another champion; None: never
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    workers: int = 1  # processes
    access_log: bool = False  # whether requests are logged that did not fail
    collect: Path | None = None  # where pictures that were misread are kept


def serve(options: Options, report: Callable[[str], None]) -> None:
    """Serve a bundle until SIGTERM, which returns, or Ctrl-C, which raises KeyboardInterrupt.

    What is in flight then is finished. Logs go to stderr.

    Args:
        options: what to serve, and where.
        report: gets one line, with the address, once connections are accepted.

    Raises:
        BundleError: the bundle fails verification.
        FileError: pictures cannot be kept where they should be.
        UsageError: the address cannot be listened on.
        MnistNetError: the champion cannot be fetched; see `fetch`.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    source = options.source
    current = Current(fetch(source) if source else load(options.bundle))
    app = _app(options, current)
    with _listen(options.host, options.port) as listener:
        host, port = listener.getsockname()[:2]
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        name = without_password(source.remote) if source else options.bundle.name
        report(f"serving {name}, version {current.served.version}, on {where}")
        log_as_json()
        if options.workers == 1:
            _start_following(options, current)
            uvicorn.Server(_config(app)).run([listener])
        else:
            _serve_with_workers(options, current.served, listener)


def _serve_with_workers(options: Options, served: Served, listener: socket.socket) -> None:
    """Serve with several processes; one that dies is replaced."""
    root = MEMORY_DISK if MEMORY_DISK.is_dir() else None  # a full disk must not end the service
    with scratch_folder(root) as metrics_folder:
        os.environ[FOLDER] = str(metrics_folder)
        app = partial(_worker_app, options, served.predictor.bundle, served.version)
        supervisor = _Supervisor(_config(app, options.workers), [listener])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise BundleError(f"{options.bundle}: a new worker could not load it; the log says why")


class _Supervisor(Multiprocess):
    """Refuses connections as soon as the workers are told to end."""

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def _worker_app(options: Options, bundle: Path, version: str) -> FastAPI:
    """Return the application of one of several processes, which ends with the first of them."""
    log_as_json()
    Thread(target=_end_with_parent, daemon=True).start()
    forget_dead_processes()
    try:
        current = Current(load(bundle, version))
        app = _app(options, current)
    except MnistNetError as error:
        log.error("%s", error)
        sys.exit(STARTUP_FAILURE)  # uvicorn then starts no other in its place
    _start_following(options, current)
    return app


def _end_with_parent() -> None:
    """Stop when the parent process has ended, whatever ended it."""
    if parent := parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _app(options: Options, current: Current) -> FastAPI:
    collection = Collection(options.collect) if options.collect else None
    return create_app(current, collection, access_log=options.access_log)


def _start_following(options: Options, current: Current) -> None:
    if options.source and options.follow_every_s:
        follower = partial(follow, options.source, current, every_s=options.follow_every_s)
        Thread(target=follower, name="follow", daemon=True).start()


def _config(app: FastAPI | Callable[[], FastAPI], workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        http=Connection,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(ANSWER_S),
        timeout_worker_healthcheck=30,  # starting takes seconds on a busy machine
    )


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
