"""Telling all API processes which batches have changed, so that they need not ask SQL all the time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError

from configuration.redis.keys import CHANGED_BATCHES

_END_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class Announcer(threading.Thread):
    """Publishes from a thread of its own: whoever has committed a change waits for no Redis.

    What Redis does not take is lost, and found by those who look at SQL now and then.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__(name="announcer", daemon=True)
        self._redis = redis
        self._changed: queue.SimpleQueue[Collection[str] | None] = queue.SimpleQueue()

    def announce(self, batch_ids: Collection[str]) -> None:
        """Soon; it waits for nothing."""
        self._changed.put(batch_ids)

    def stop(self) -> None:
        """After what was announced, unless Redis hangs."""
        self._changed.put(None)
        self.join(_END_SECONDS)

    def run(self) -> None:
        away = False
        while (first := self._changed.get()) is not None:
            changed = set(first)
            ends = self._take_the_rest(changed)
            try:
                with self._redis.pipeline(transaction=False) as pipeline:
                    for batch_id in sorted(changed):
                        pipeline.publish(CHANGED_BATCHES, batch_id)
                    pipeline.execute()
                away = False
            except (RedisError, OSError) as error:
                if not away:
                    log.warning("changes of batches are not announced", error=type(error).__name__)
                away = True
            if ends:
                return

    def _take_the_rest(self, changed: set[str]) -> bool:
        """Add what has come meanwhile; True where the end has come too."""
        while True:
            try:
                more = self._changed.get_nowait()
            except queue.Empty:
                return False
            if more is None:
                return True
            changed.update(more)
