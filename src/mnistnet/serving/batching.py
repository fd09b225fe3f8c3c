"""What waits to be computed: images of several requests, classified together; and all else.

    probabilities = await batcher.probabilities(images)   # uint8 (N, 28, 28) → float32 (N, 10)
    prediction = await pool.run(predictor.predict, picture)      # in a thread

Requests that arrive while nothing runs start a batch at once; those that arrive while one runs make
up the next. So nobody waits for a batch to fill, and the more requests there are, the larger are
the batches. (Continuous batching; a timer would make a single client wait for nobody.)
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mnistnet.errors import MnistNetError
from mnistnet.serving.limits import BUSY
from mnistnet.serving.monitoring import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.inference import Predictor

Result = TypeVar("Result")

MAX_BATCH = 256  # images; a request of more is a batch of its own
MAX_QUEUED = 8192  # images that wait, at most: less than a second's work
MAX_JOBS = 128  # of a pool, those that run included: most take 10 ms


class BusyError(MnistNetError):
    """Too much waits already. The client should try again later."""

    def __init__(self) -> None:
        super().__init__(BUSY)


@dataclass
class _Waiting:
    """The images of one request, and where their probabilities go."""

    images: NDArray[np.uint8]  # (N, 28, 28)
    answer: asyncio.Future[NDArray[np.float32]]  # (N, 10)


class Batcher:
    """Classifies images of requests that arrive together as one batch. Lives in one event loop.

    Args:
        predictor: classifies them, in a thread of this batcher's own.
        max_queued: how many images may wait.
    """

    def __init__(self, predictor: Predictor, max_queued: int = MAX_QUEUED) -> None:
        self._predictor = predictor
        self._max_queued = max_queued
        self._waiting: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self.queued = 0  # images that wait

    async def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities, float32 (N, 10), of images uint8 (N, 28, 28).

        Raises:
            BusyError: too many images wait already.
            BundleError: the graph cannot be run.
        """
        if self.queued + len(images) > self._max_queued:
            raise BusyError
        loop = asyncio.get_running_loop()
        waiting = _Waiting(images, loop.create_future())
        self._waiting.append(waiting)
        self.queued += len(images)
        metrics().queued_images.inc(len(images))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return await waiting.answer

    async def _run(self) -> None:
        """Run batch after batch until nobody waits."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            images = [waiting.images for waiting in batch]
            try:
                found = await loop.run_in_executor(self._thread, self._classify, images)
            except Exception as error:
                found = [error] * len(batch)
            for waiting, answer in zip(batch, found, strict=True):
                if waiting.answer.done():  # its client has left
                    continue
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)
        self._running = None

    def _classify(self, requests: list[NDArray[np.uint8]]) -> list[NDArray[np.float32] | Exception]:
        """Return the probabilities for the images of each request."""
        probabilities = self._predictor.classify(np.concatenate(requests))
        measured = metrics()
        measured.batch.observe(len(probabilities))
        confidences = probabilities.max(axis=1)
        measured.predicted(probabilities.argmax(axis=1), confidences >= self._predictor.threshold)
        return list(np.split(probabilities, np.cumsum([len(images) for images in requests[:-1]])))

    def _next_batch(self) -> list[_Waiting]:
        """Take the requests that wait longest, as many as make a batch."""
        batch: list[_Waiting] = []
        n = 0
        while self._waiting and (not batch or n + len(self._waiting[0].images) <= MAX_BATCH):
            waiting = self._waiting.popleft()
            self.queued -= len(waiting.images)
            metrics().queued_images.dec(len(waiting.images))
            if not waiting.answer.done():
                batch.append(waiting)
                n += len(waiting.images)
        return batch


class Pool:
    """Threads for what takes milliseconds, one for each core; what waits for them is bounded."""

    def __init__(self, max_jobs: int = MAX_JOBS) -> None:
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pool")
        self._slots = BoundedSemaphore(max_jobs)

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return what a function returns, or raise what it raises.

        Raises:
            BusyError: too many wait already.
        """
        if not self._slots.acquire(blocking=False):
            raise BusyError
        metrics().pool_jobs.inc()
        job = self._threads.submit(function, *arguments)
        job.add_done_callback(self._release)  # not when its client leaves: it goes on running
        return await asyncio.wrap_future(job)

    def _release(self, _: object) -> None:
        metrics().pool_jobs.dec()
        self._slots.release()
