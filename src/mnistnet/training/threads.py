"""Several things at once, on a pool of threads and the one that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

T = TypeVar("T")


def side_by_side(pool: Executor, tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Call functions at once and give their results in order.

    The last one runs in the thread that calls: a step is short, and to wake another thread takes
    a part of it.
    """
    futures = [pool.submit(task) for task in tasks[:-1]]
    last = tasks[-1]()
    return [*(future.result() for future in futures), last]
