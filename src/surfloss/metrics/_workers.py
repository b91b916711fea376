"""One function of many items, on several processes, of which some may end before they are done."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from surfloss._check import fail

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    function: Callable[[Item], Result],
    items: dict[int, Item],
    workers: int,
    lost: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    """The function's result for each item, in the order in which they are finished.

    Args:
        function: of one item, in a process of its own if there are several workers and items.
        items: by place.
        workers: processes.
        lost: the result of an item that ends its process, as the system does where memory runs short. What a
            process was busy with when another one ended is repeated, from then on one item at a time.

    Raises:
        RuntimeError: if processes end before they have any item.
    """
    if min(workers, len(items)) <= 1:
        yield from ((place, function(item)) for place, item in items.items())
        return
    waiting = dict(items)
    while waiting:
        try:
            for place, result in _finished(function, waiting, min(workers, len(waiting))):
                del waiting[place]
                yield place, result
        except BrokenProcessPool:
            if workers == 1:  # it works in order, so that the first that waits is to blame
                place = next(iter(waiting))
                yield place, lost(waiting.pop(place))
            workers = 1


def _nothing(function: object) -> None:
    """What a process can do that has started and can import the function."""


def _finished(
    function: Callable[[Item], Result], items: dict[int, Item], workers: int
) -> Iterator[tuple[int, Result]]:
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),  # PyTorch's threads do not survive a fork
        initializer=torch.set_num_threads,
        initargs=(max(1, torch.get_num_threads() // workers),),
    ) as pool:
        try:
            pool.submit(_nothing, function).result()
        except BrokenProcessPool:
            wanted = """some that start: a script needs its `if __name__ == "__main__":`"""
            fail("workers", "processes that end at once", wanted, RuntimeError)
        futures = {pool.submit(function, item): place for place, item in items.items()}
        try:
            for future in futures if workers == 1 else as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
