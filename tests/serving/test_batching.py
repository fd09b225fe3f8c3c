"""Images of requests that arrive together run as one batch, and nobody waits for nobody."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnistnet.inference import Predictor
from mnistnet.serving.batching import Batcher, BusyError, Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Recorder(Predictor):
    """Notes the size of each batch, and waits before each until it may run."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.may_run = Event()
        self.may_run.set()

    def classify(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        self.may_run.wait()
        return super().classify(images)


async def gather(*jobs: Awaitable[np.ndarray]) -> list[np.ndarray]:
    return await asyncio.gather(*jobs)


def test_requests_that_arrive_together_run_as_one_batch(images: np.ndarray) -> None:
    predictor = Recorder()
    batcher = Batcher(predictor)
    requests = [images[i : i + 1 + i % 3] for i in range(64)]
    found = asyncio.run(gather(*map(batcher.probabilities, requests)))
    assert predictor.sizes == [sum(map(len, requests))]
    for probabilities, request in zip(found, requests, strict=True):
        np.testing.assert_allclose(probabilities, Predictor().classify(request), atol=1e-6)


def test_requests_that_arrive_while_a_batch_runs_make_up_the_next(images: np.ndarray) -> None:
    predictor = Recorder()
    batcher = Batcher(predictor)

    async def arrive() -> None:
        predictor.may_run.clear()
        first = asyncio.create_task(batcher.probabilities(images[:1]))
        while not predictor.sizes:
            await asyncio.sleep(0)
        later = [asyncio.create_task(batcher.probabilities(images[i : i + 1])) for i in range(9)]
        await asyncio.sleep(0)
        predictor.may_run.set()
        await asyncio.gather(first, *later)
        await batcher.probabilities(images[:2])

    asyncio.run(arrive())
    assert predictor.sizes == [1, 9, 2]  # who is alone waits for nobody


def test_a_full_queue_refuses_at_once_and_is_free_again_later(images: np.ndarray) -> None:
    predictor = Recorder()
    batcher = Batcher(predictor, max_queued=10)

    async def arrive() -> None:
        predictor.may_run.clear()
        running = asyncio.create_task(batcher.probabilities(images[:5]))
        while not predictor.sizes:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(batcher.probabilities(images[:10]))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await batcher.probabilities(images[:1])
        predictor.may_run.set()
        assert len(await running) == 5
        assert len(await waiting) == 10
        assert len(await batcher.probabilities(images[:10])) == 10

    asyncio.run(arrive())


def test_who_leaves_takes_its_images_along(images: np.ndarray) -> None:
    predictor = Recorder()
    batcher = Batcher(predictor)

    async def arrive() -> None:
        predictor.may_run.clear()
        running = asyncio.create_task(batcher.probabilities(images[:1]))
        while not predictor.sizes:
            await asyncio.sleep(0)
        leaving = asyncio.create_task(batcher.probabilities(images[:100]))
        staying = asyncio.create_task(batcher.probabilities(images[1:3]))
        await asyncio.sleep(0)
        leaving.cancel()
        predictor.may_run.set()
        await running
        found = await staying
        np.testing.assert_allclose(found, Predictor().classify(images[1:3]), atol=1e-6)

    asyncio.run(arrive())
    assert predictor.sizes == [1, 2]


def test_an_error_reaches_every_request_of_its_batch_and_no_other(images: np.ndarray) -> None:
    batcher = Batcher(Predictor())

    async def arrive() -> None:
        bad = images[:1].astype(np.int32)
        answers = await asyncio.gather(
            *(batcher.probabilities(i) for i in (bad, bad)),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        assert all(isinstance(answer, Exception) for answer in answers)
        assert len(await batcher.probabilities(images[:3])) == 3

    asyncio.run(arrive())


def test_a_pool_refuses_what_is_too_much_even_if_clients_have_left() -> None:
    may_end = Event()

    async def arrive() -> None:
        pool = Pool(3)
        jobs = [asyncio.create_task(pool.run(may_end.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        jobs[0].cancel()  # runs on
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await pool.run(may_end.wait)
        may_end.set()
        await asyncio.gather(*jobs[1:])
        assert await pool.run(may_end.wait)

    asyncio.run(arrive())
