"""Large bodies, of which few are in memory at a time: what one takes, parsed and checked, is several times its size.

Who may send it was asked before, so that only a good key has a turn at all.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import Request

from service.errors import BodyTooSlowError, BusyError
from service.http.body_limits import declared_bytes

LARGE_BYTES: Final = 2 * 1024**2
MOST_AT_ONCE: Final = 2
"""One that is worked on, and one that arrives meanwhile; of one key's one at a time."""
WAIT_SECONDS: Final = 30.0
READ_SECONDS: Final = 60.0
"""For so long one may take to arrive: a slow sender has others wait."""


class LargeBodies:
    """The turns of one process. For the event loop alone."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        # Whoever sends slowly would else have both turns.
        self._of_callers: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._work = asyncio.Lock()

    @asynccontextmanager
    async def body_of(self, request: Request) -> AsyncIterator[bytes]:
        """The request's body. A large one is the only one while the block runs; small ones pass it.

        Raises BusyError where others take too long, and BodyTooSlowError.
        """
        async with AsyncExitStack() as stack:
            body = await self._read(request, stack)
            if len(body) > LARGE_BYTES:
                await stack.enter_async_context(self._work)
            yield body

    async def _read(self, request: Request, stack: AsyncExitStack) -> bytes:
        pieces: list[bytes] = []
        size, arrived = declared_bytes(request.headers) or 0, 0
        try:
            async with asyncio.timeout(None) as deadline:
                if size > LARGE_BYTES:
                    await self._take_turn(request, stack, deadline)
                async for piece in request.stream():
                    pieces.append(piece)
                    arrived += len(piece)
                    if arrived > LARGE_BYTES and deadline.when() is None:  # its size was not declared
                        await self._take_turn(request, stack, deadline)
        except TimeoutError:
            raise BodyTooSlowError(
                f"after {READ_SECONDS:g} s {arrived} bytes of the body had come; send the facts in smaller batches"
            ) from None
        return b"".join(pieces)

    async def _take_turn(self, request: Request, stack: AsyncExitStack, deadline: asyncio.Timeout) -> None:
        own = self._of_callers.setdefault(request.state.caller.id, asyncio.Lock())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await stack.enter_async_context(own)
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError(
                f"{MOST_AT_ONCE} bodies of more than {LARGE_BYTES} bytes are being read already; try again later", 30
            ) from None
        stack.callback(self._turns.release)
        deadline.reschedule(asyncio.get_running_loop().time() + READ_SECONDS)
