"""Multiplexes the reply streams of all requests in flight over one blocking Redis read."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from configuration.redis.keys import reader_stream, reply_stream

_BLOCK_MILLISECONDS: Final = 1000
_TICK_SECONDS: Final = 1.0
_EVENTS_AT_ONCE: Final = 500
_WAKE_SECONDS: Final = 3600
_PAUSE_SECONDS: Final = 0.5

Fields = dict[bytes, bytes]

log = structlog.get_logger(__name__)


class ReplyReader:
    """Follows reply streams while `running()`; each follower gets the entries of its own stream, in order."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # A blocked read does not know of a stream that is followed from now on; an entry here ends it.
        self._wake = reader_stream(secrets.token_hex(8))
        self._woken = b"0"
        self._ticked = time.monotonic()
        self._followers: dict[bytes, _Follower] = {}
        self._has_followers = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ReplyReader]:
        task = asyncio.create_task(self._run(), name="reply reader")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def following(self, request_id: str) -> AsyncIterator[asyncio.Queue[list[Fields] | RedisError]]:
        """The entries of a request's replies from their beginning, some at a time, or why they cannot be read.

        About once a second there is a list without any, so that a follower can look whether it waits in vain: cheaper
        than a timer for each token.
        """
        stream = reply_stream(request_id).encode()
        follower = self._followers[stream] = _Follower()
        self._has_followers.set()
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.xadd(self._wake, {"": ""}, maxlen=1, approximate=False)
                pipeline.expire(self._wake, _WAKE_SECONDS)
                await pipeline.execute()
            yield follower.mailbox
        finally:
            del self._followers[stream]
            if not self._followers:
                self._has_followers.clear()

    async def _run(self) -> None:
        while True:
            await self._has_followers.wait()
            try:
                await self._read()
            except RedisError as error:
                self._deliver_to_all(error)
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:
                # Without this task nobody would ever get an answer again: say it, and go on.
                log.exception("reading replies failed")
                self._deliver_to_all(RedisError("replies cannot be read"))
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read(self) -> None:
        streams: Any = {self._wake: self._woken} | {name: follower.last for name, follower in self._followers.items()}
        streams_read: Any = await self._redis.xread(streams, count=_EVENTS_AT_ONCE, block=_BLOCK_MILLISECONDS)
        if time.monotonic() - self._ticked >= _TICK_SECONDS:
            self._ticked = time.monotonic()
            self._deliver_to_all([])
        for name, entries in streams_read or ():
            last = entries[-1][0]
            if name == self._wake.encode():
                self._woken = last
            elif follower := self._followers.get(name):
                follower.last = last
                follower.mailbox.put_nowait([fields for _, fields in entries])

    def _deliver_to_all(self, news: list[Fields] | RedisError) -> None:
        for follower in self._followers.values():
            follower.mailbox.put_nowait(news)


class _Follower:
    def __init__(self) -> None:
        self.last = b"0"
        self.mailbox: asyncio.Queue[list[Fields] | RedisError] = asyncio.Queue()
