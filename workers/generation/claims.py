"""Renews the claims on requests by which front ends see that a worker has them, and takes over what was left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

from configuration.redis.keys import GENERATE_GROUP, claimed_key, generate_stream, worker_key

CLAIM_SECONDS = 30
"""For so long a claim stands that is not renewed."""
RENEW_SECONDS = 5.0
REAP_SECONDS = 30.0
"""What was handed to a worker and not taken for so long is taken over; it looks for such as often."""
IDLE_CONSUMER_SECONDS = 3600.0
"""A consumer of a worker that is gone is forgotten after this."""

log = structlog.get_logger(__name__)


class Claims(threading.Thread):
    """Renews the claims of a worker, whatever its decode thread is busy with, until `stop`."""

    def __init__(self, model: str, worker_id: str, redis: Redis) -> None:
        super().__init__(name="claims", daemon=True)
        self._stream = generate_stream(model)
        self._worker_id = worker_id
        self._redis = redis
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._ended = threading.Event()
        self._reaped = time.monotonic()

    def hold(self, ids: Iterable[str]) -> None:
        """Renew these from now on; the first time they were set when they were taken."""
        with self._lock:
            self._held.update(ids)

    def release(self, ids: Iterable[str]) -> None:
        """Nothing more is done for these; their claims run out."""
        with self._lock:
            self._held.difference_update(ids)

    def disown(self, ids: Iterable[str]) -> None:
        """Take the claims back, so that whoever waits hears at once that these are lost. Raises RedisError."""
        keys = [claimed_key(request_id) for request_id in ids]
        self.release(ids)
        with self._renewing:  # else a renewal under way could set again what was just deleted
            self._redis.delete(*keys)

    def stop(self) -> None:
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                self._renew()
                if time.monotonic() - self._reaped > REAP_SECONDS:
                    self._reaped = time.monotonic()
                    self._take_over()
                    self._forget_consumers()
            except RedisError as error:
                log.warning("claims cannot be looked after", error=str(error))

    def _renew(self) -> None:
        with self._renewing:
            with self._lock:
                held = list(self._held)
            if not held:
                return
            pipeline = self._redis.pipeline(transaction=False)
            for request_id in held:
                pipeline.set(claimed_key(request_id), self._worker_id, ex=CLAIM_SECONDS)
            pipeline.execute()

    def _take_over(self) -> None:
        """Have handed to this worker what another was handed and never took.

        What a worker took is off the stream before its first token is decoded, so that nothing is answered twice.
        """
        idle = int(REAP_SECONDS * 1000)
        self._redis.xautoclaim(self._stream, GENERATE_GROUP, self._worker_id, idle, "0-0", count=100, justid=True)

    def _forget_consumers(self) -> None:
        """Each start of a worker is a consumer of its own; one that is gone and has nothing is forgotten."""
        consumers: Any = self._redis.xinfo_consumers(self._stream, GENERATE_GROUP)
        for consumer in consumers:
            name = consumer["name"].decode()
            is_old = consumer["idle"] > IDLE_CONSUMER_SECONDS * 1000
            if is_old and not consumer["pending"] and not self._redis.exists(worker_key(name)):
                self._redis.xgroup_delconsumer(self._stream, GENERATE_GROUP, name)
