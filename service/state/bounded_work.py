"""Threads of its own for one kind of slow answer, of which few run, few wait, and fewer still are of one key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from service.access.caller import Caller
from service.access.places import Places
from service.errors import LimitReachedError, OverloadedError

T = TypeVar("T")

WAIT_SECONDS: Final = 60.0
"""For so long one waits for its turn."""
_RETRY_SECONDS: Final = 10


class BoundedWork:
    """The turns of one process. For the event loop alone: whoever waits for a turn holds no thread.

    `what` names the work in the plural, in what the refused are told.
    """

    def __init__(self, what: str, *, at_once: int, most: int, most_of_a_caller: int) -> None:
        """`most` run or wait at a time, `most_of_a_caller` of them for one caller; `at_once` of them run."""
        self._what = what
        self._most = most
        self._most_of_a_caller = most_of_a_caller
        self._pending = Places()
        self._turns = asyncio.Semaphore(at_once)
        # Never waited for: a turn is a thread.
        self._threads = CapacityLimiter(at_once)

    async def run(self, caller: Caller, work: Callable[[], T]) -> T:
        """What `work` returns or raises, in a thread.

        Raises LimitReachedError where too much of the caller's is pending, and OverloadedError where too much of
        everybody's is, or where no turn came within WAIT_SECONDS.
        """
        with self._place(caller.id):
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._turns.acquire()
            except TimeoutError:
                raise OverloadedError(
                    f"others' {self._what} took longer than {WAIT_SECONDS:g} s; try again later", _RETRY_SECONDS
                ) from None
            try:
                return await run_sync(work, limiter=self._threads)
            finally:
                self._turns.release()

    @contextmanager
    def _place(self, caller_id: str) -> Iterator[None]:
        if self._pending.of(caller_id) >= self._most_of_a_caller:
            raise LimitReachedError(
                "work_limit",
                f"this API key may have {self._most_of_a_caller} {self._what} waiting or running at a time",
                _RETRY_SECONDS,
            )
        if self._pending.total() >= self._most:
            raise OverloadedError(f"{self._most} {self._what} wait already; try again later", _RETRY_SECONDS)
        with self._pending.one_more(caller_id):
            yield
