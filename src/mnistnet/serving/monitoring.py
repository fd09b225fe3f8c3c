"""What the service tells those who run it: metrics for Prometheus, and logs as lines of JSON.

    metrics().predicted(digits, sure)
    app.add_middleware(Monitor, access_log=True)    # counts, times and logs each request
    log_as_json()

With several workers, each writes its metrics to files in the folder that PROMETHEUS_MULTIPROC_DIR
names, and each answers with the sums of all.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from mnistnet.serving.limits import failure

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mnistnet.inference import Prediction

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NO_DIGIT = 10
FAULT = "this is a fault of the service, which it has logged"
GONE = 499  # nginx's status for a client that left before its answer
MAX_WAITING_LINES = 10_000  # of the log, while its reader is slow; more are dropped and counted
MAX_CHARACTERS = 4000  # of a line's message, and of its traceback

log = logging.getLogger(__name__)


class Metrics:
    """All metrics. There is one object in a process: `metrics()`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        total: dict[str, Any] = {"multiprocess_mode": "livesum"}
        self.requests = Counter(
            "mnistnet_requests", "Requests answered; 499: the client left", ["path", "status"]
        )
        self.seconds = Histogram(
            "mnistnet_request_seconds",
            "From a request's headers to the end of its answer",
            ["path"],
            buckets=SECONDS,
        )
        self.in_flight = Gauge("mnistnet_requests_in_flight", "Requests in progress", **total)
        self.queued_images = Gauge("mnistnet_queued_images", "28x28 images that wait", **total)
        self.pool_jobs = Gauge("mnistnet_pool_jobs", "Pictures that wait or run", **total)
        self.batch = Histogram(
            "mnistnet_batch_images", "28x28 images that ran as one batch", buckets=IMAGES
        )
        self.predictions = Counter("mnistnet_predictions", "Predictions, by digit", ["digit"])
        self.not_sure = Counter("mnistnet_predictions_not_sure", "Predictions that are not sure")
        self.looks = Counter(
            "mnistnet_registry_looks",
            "Looks at the registry: unchanged, changed, refused (a bad champion), failed",
            ["outcome"],
        )
        self.lost_lines = Counter("mnistnet_log_lines_lost", "Log lines that could not be written")

    def predicted(self, digits: NDArray[np.integer[Any]], sure: NDArray[np.bool_]) -> None:
        """Count predictions: the digits (N,), 10 where there is none, and whether each is sure."""
        for digit, n in enumerate(np.bincount(digits).tolist()):
            if n:
                self.predictions.labels(digit if digit < NO_DIGIT else "none").inc(n)
        self.not_sure.inc(len(sure) - int(sure.sum()))

    def predicted_picture(self, prediction: Prediction) -> None:
        """Count the prediction of a picture."""
        digit = NO_DIGIT if prediction.digit is None else prediction.digit
        self.predicted(np.array([digit]), np.array([prediction.sure]))


@cache
def metrics() -> Metrics:
    """Return this process's metrics."""
    return Metrics()


def exposition(accept: str) -> tuple[bytes, str]:
    """Return all metrics in the format that an Accept header asks for, and its media type."""
    registry = REGISTRY
    if FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def forget_dead_processes() -> None:
    """Leave out of the gauges what workers had in progress that are no more."""
    for file in Path(os.environ[FOLDER]).glob("gauge_live*_*.db"):
        process = int(file.stem.rsplit("_", 1)[-1])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process)  # type: ignore[no-untyped-call]


class Monitor:
    """Counts, times and logs the requests that an ASGI application answers.

    Args:
        app: the application.
        access_log: whether requests are logged that did not fail.
    """

    def __init__(self, app: ASGIApp, *, access_log: bool = False) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what the application raises becomes a 500 that says no more."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = perf_counter()
        measured = metrics()
        measured.in_flight.inc()
        try:
            await self._app(scope, receive, counted)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if status:
                raise
            status = 500
            await failure(500, FAULT)(scope, receive, send)
        finally:
            seconds = perf_counter() - started
            measured.in_flight.dec()
            path = getattr(scope.get("route"), "path", "none")
            measured.requests.labels(path, status or GONE).inc()
            measured.seconds.labels(path).observe(seconds)
            if self._access_log or status >= 400:
                _log_request(scope, status or GONE, seconds)


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    fields = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "seconds": round(seconds, 6),
        "client": (scope["client"] or ("?",))[0],
    }
    log.info("request", extra={"fields": fields})


# ---- logs


def log_as_json() -> None:
    """Write all that this process logs to stderr from now on, each as one line of JSON."""
    root = logging.getLogger()
    root.addHandler(_JsonLines())
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


class _JsonLines(logging.Handler):
    """Writes lines in a thread of its own: no request waits for a slow reader or a full disk."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Queue[bytes | None] = Queue(MAX_WAITING_LINES)
        self._thread = Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        line: dict[str, object] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MAX_CHARACTERS],
            "process": record.process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
            line["traceback"] = str(line["traceback"])[-MAX_CHARACTERS:]
        try:
            self._lines.put_nowait(json.dumps(line, default=str).encode() + b"\n")
        except Full:
            metrics().lost_lines.inc()

    def _write(self) -> None:
        torn = False  # the last line is there in part
        while (line := self._lines.get()) is not None:
            content = b"\n" + line if torn else line
            written = 0
            with suppress(OSError):  # the disk is full, or nobody reads any more
                written = os.write(sys.stderr.fileno(), content)
            torn = 0 < written < len(content) or (torn and not written)
            if written < len(content):
                metrics().lost_lines.inc()

    def close(self) -> None:
        """Write what waits, for at most a second."""
        super().close()
        with suppress(Full):
            self._lines.put_nowait(None)
            self._thread.join(1)
