"""Images of several requests, classified together.

    probabilities = await batcher.probabilities(images)   # uint8 (N, 28, 28) → float32 (N, 10)

Requests that arrive while nothing runs start a batch at once; those that arrive while one runs make
up the next. So nobody waits for a batch to fill, and the more requests there are, the larger are
the batches. (Continuous batching; a timer would make a single client wait for nobody.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.errors import MnistNetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.inference import Predictor

MAX_BATCH = 256  # images; a request of more is a batch of its own
MAX_QUEUED = 8192  # images that wait, at most: a fifth of a second's work


class BusyError(MnistNetError):
    """The queue is full. The client should try again later."""


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
        self.on_batch: Callable[[int], None] = lambda _: None  # gets the size of each batch

    async def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities, float32 (N, 10), of images uint8 (N, 28, 28).

        Raises:
            BusyError: too many images wait already.
            BundleError: the graph cannot be run.
        """
        if self.queued + len(images) > self._max_queued:
            raise BusyError("too many images wait already; try again in a second")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(images, loop.create_future())
        self._waiting.append(waiting)
        self.queued += len(images)
        if self._running is None:
            self._running = loop.create_task(self._run())
        return await waiting.answer

    async def _run(self) -> None:
        """Run batch after batch until nobody waits."""
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next_batch():
                images = np.concatenate([waiting.images for waiting in batch])
                self.on_batch(len(images))
                try:
                    found = await loop.run_in_executor(
                        self._thread, self._predictor.classify, images
                    )
                except Exception as error:
                    for waiting in batch:
                        if not waiting.answer.done():
                            waiting.answer.set_exception(error)
                    continue
                start = 0
                for waiting in batch:
                    end = start + len(waiting.images)
                    if not waiting.answer.done():  # its client is there still
                        waiting.answer.set_result(found[start:end])
                    start = end
        finally:
            self._running = None

    def _next_batch(self) -> list[_Waiting]:
        """Take the requests that wait longest, as many as make a batch."""
        batch: list[_Waiting] = []
        n = 0
        while self._waiting and (not batch or n + len(self._waiting[0].images) <= MAX_BATCH):
            waiting = self._waiting.popleft()
            self.queued -= len(waiting.images)
            if not waiting.answer.done():
                batch.append(waiting)
                n += len(waiting.images)
        return batch
