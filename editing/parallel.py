"""Several tasks at once on the cores of a processor, each in a thread of its own with a share of the cores.

A pass over a few hundred tokens is hundreds of small operations, and a core that must wait for the others after each of
them spends much of its time waiting: on two cores one pass runs 1.4 times as fast as on one. Two passes side by side,
on one core each, never wait for each other. PyTorch lets other Python threads run while it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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


class Parallel:
    """`number` threads for as long as the `with` block lasts; with 1, tasks run in the caller's own.

    PyTorch's number of threads is kept for each thread apart, but a new thread begins with what was set last: so it is
    set back, for threads that others start meanwhile.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.number > 1:
            cores = torch.get_num_threads()
            self._pool = ThreadPoolExecutor(
                self.number, "pass", initializer=torch.set_num_threads, initargs=(max(1, cores // self.number),)
            )
            # A pool starts its threads with its first tasks, one for each.
            for started in [self._pool.submit(torch.get_num_threads) for _ in range(self.number)]:
                started.result()
            torch.set_num_threads(cores)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, run: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """`run(task)` of all `tasks`, in their order. An error ends it; tasks not begun then do not begin."""
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
