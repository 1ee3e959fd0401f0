"""One look at SQL for all streams that follow a batch, when Redis tells that it has changed, else now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from configuration.redis.keys import CHANGED_BATCHES
from store.schema.database import Database
from store.schema.tables import EventRow
from store.work import following
from store.work.following import BatchNews

LOOK_SECONDS: Final = 2.0
"""After so long all batches that are followed are looked at, whatever was heard."""
TOGETHER_SECONDS: Final = 0.05
"""What changes within so long of a look is read by the next one."""
_LISTEN_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


class Follower:
    """One stream's view of a batch: `latest` is None until the first look, `is_gone` once the batch is deleted."""

    def __init__(self) -> None:
        self.latest: BatchNews | None = None
        self.is_gone = False
        self._told = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Until there is news, at most for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()
        self._told.clear()

    def tell(self, latest: BatchNews | None) -> None:
        self.latest, self.is_gone = latest, latest is None
        self._told.set()


@dataclass
class _Followed:
    """All events of a batch that were read, for streams that begin anywhere among them."""

    followers: set[Follower] = field(default_factory=set)
    events: list[EventRow] = field(default_factory=list)


class BatchFeed:
    """The followed batches of one process, looked at from one thread. For the event loop alone."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis
        self._followed: dict[str, _Followed] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._thread = CapacityLimiter(1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BatchFeed]:
        tasks = [
            asyncio.create_task(self._listen(), name="listen to changes of batches"),
            asyncio.create_task(self._look_when_due(), name="look at followed batches"),
        ]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def following(self, batch_id: str) -> Iterator[Follower]:
        """Told soon how far the batch is, and from then on when that changes."""
        follower = Follower()
        followed = self._followed.setdefault(batch_id, _Followed())
        followed.followers.add(follower)
        self._changed(batch_id)
        try:
            yield follower
        finally:
            followed.followers.discard(follower)
            if not followed.followers:
                del self._followed[batch_id]

    def _changed(self, batch_id: str) -> None:
        if batch_id in self._followed:
            self._due.add(batch_id)
            self._wake.set()

    async def _look_when_due(self) -> None:
        clock = asyncio.get_running_loop().time
        looked_at_all = clock()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(looked_at_all + LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, set()
            if clock() - looked_at_all >= LOOK_SECONDS:
                due, looked_at_all = set(self._followed), clock()
            try:
                await self._look(due)
            except SQLAlchemyError as error:
                # The streams go on, and hear what they missed when the database is back.
                log.warning("followed batches could not be looked at", error=type(error).__name__)
            except Exception:
                # Without this task no stream would ever end: say it, and go on.
                log.exception("looking at followed batches failed")
            await asyncio.sleep(TOGETHER_SECONDS)

    async def _look(self, due: set[str]) -> None:
        followed = {batch_id: one for batch_id in due if (one := self._followed.get(batch_id)) is not None}
        if not followed:
            return
        after = {batch_id: shared.events[-1].id if shared.events else 0 for batch_id, shared in followed.items()}
        found = await run_sync(self._read, after, limiter=self._thread)
        for batch_id, one in followed.items():
            news = found.get(batch_id)
            if news is not None:
                one.events += news.events
                news = BatchNews(news.state, news.progress, one.events)
            for follower in one.followers:
                follower.tell(news)

    def _read(self, after: Mapping[str, int]) -> dict[str, BatchNews]:
        with self._database.reading() as session:
            return following.news(session, after)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANGED_BATCHES)
                    while True:
                        message = await channel.get_message(ignore_subscribe_messages=True, timeout=_LISTEN_SECONDS)
                        if message is not None:
                            self._changed(message["data"].decode(errors="replace"))
            except (RedisError, OSError) as error:
                log.debug("changes of batches are not heard", error=type(error).__name__)
            except Exception:
                log.exception("listening to changes of batches failed")
            await asyncio.sleep(_PAUSE_SECONDS)
