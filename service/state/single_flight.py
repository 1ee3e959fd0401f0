"""One look for all who ask at once: those who may ask without a key cannot take the threads of those who work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from fastapi.concurrency import run_in_threadpool

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a function in a thread, never twice at once. Whoever asks meanwhile awaits its answer in the event loop."""

    def __init__(self) -> None:
        self._looking: asyncio.Future[T] | None = None

    async def __call__(self, look: Callable[[], T]) -> T:
        """What `look` returns or raises; where one is under way, what that one does."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(run_in_threadpool(look))
        # A client that hangs up ends its own request, and not the look that others wait for.
        return await asyncio.shield(self._looking)
