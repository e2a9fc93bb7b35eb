"""Lanes: threads that each work on a part of their own, with one thread of PyTorch's inside.

PyTorch's own threads share every single operation and meet at its end, so where another process takes the core of one,
all wait, thousands of times a second. Lanes meet once per batch.

After an operation that they shared, PyTorch's threads spin for milliseconds in wait of the next, on the cores that
lanes need. So the caller works alone while there are lanes, and between one batch and the next: see `one_thread`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_lanes(
    work: Callable[[Item], Result], items: Iterable[Item], number: int, device: torch.device
) -> Iterator[Result]:
    """Yield work(item) of `number` items in their order, on a CPU from as many threads at once as PyTorch has.

    With fewer items than threads, every lane has several of PyTorch's threads. Within a lane, and on other devices,
    there is one lane. Items are taken as results are.
    """
    threads = torch.get_num_threads()
    lanes = min(threads, number) if device.type == "cpu" else 1
    if lanes < 2:
        yield from map(work, items)
        return
    pool, grad = _pool(lanes, threads // lanes), torch.is_grad_enabled()

    def task(item: Item) -> Result:
        with torch.set_grad_enabled(grad):  # each thread has its own switch
            return work(item)

    ahead: deque[Future[Result]] = deque()
    try:
        with one_thread():
            for item in items:
                ahead.append(pool.submit(task, item))
                if len(ahead) > lanes:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread in the block: for work between lanes, and for sums whose bytes shall not depend on the
    number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _pool(lanes: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(lanes, "lane", initializer=_set_num_threads, initargs=(threads,))


def _set_num_threads(threads: int) -> None:
    torch.get_num_threads()  # the first call in a thread takes over what was last set in any other
    torch.set_num_threads(threads)
