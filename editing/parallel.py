"""Several tasks at once on the cores of a processor, each in a thread of its own with a share of the cores.

A pass over a few hundred tokens is hundreds of small operations, and a core that must wait for the others after each of
them spends much of its time waiting: on two cores one pass runs 1.4 times as fast as on one. Two passes side by side,
on one core each, never wait for each other. PyTorch lets other Python threads run while it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier
from types import TracebackType
from typing import Self, TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

TOKENS_FOR_ONE = 24
"""Tokens of a pass that are worth a thread of their own. Matrix products of so few are slow, but less so than two cores
at one of them: 56 tokens took 0.27 s as two passes side by side, 0.37 s as one on one core, 0.48 s as one on two."""


def threads_for(tokens: int, device: torch.device) -> int:
    """How many passes that share `tokens` tokens are best run side by side; 1 on an accelerator."""
    if device.type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), tokens // TOKENS_FOR_ONE))


def use_cores(number: int) -> None:
    """Let the calling thread's operations use `number` cores, whatever other threads set for theirs.

    PyTorch keeps the number for each thread apart, but a thread's first operation takes what was set last, by any of
    them: a thread that lives long says its own. That is what threads begin with from now on that say nothing.
    """
    torch.get_num_threads()  # counts as the first operation, which would forget what was set before it
    torch.set_num_threads(number)


class Parallel:
    """`number` threads for as long as the `with` block lasts; with 1, tasks run in the caller's own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.number > 1:
            cores = torch.get_num_threads()
            share = max(1, cores // self.number)
            self._pool = ThreadPoolExecutor(self.number, "pass", initializer=use_cores, initargs=(share,))
            # A thread that is free takes the next task before another one is started, which would then say its share
            # at any later time, and threads of others that begin after that would have no more: all start here.
            all_here = Barrier(self.number)
            try:
                for started in [self._pool.submit(all_here.wait) for _ in range(self.number)]:
                    started.result()
            except BaseException:
                all_here.abort()
                self._pool.shutdown()
                raise
            finally:
                torch.set_num_threads(cores)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, run: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """`run(task)` of all `tasks`, in their order. An error ends it; tasks not begun then do not begin, those that
        were have ended when it is raised."""
        if self._pool is None:
            yield from map(run, tasks)
            return
        futures = [self._pool.submit(run, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
