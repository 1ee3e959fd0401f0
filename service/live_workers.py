"""Which workers live, and how far they are: read from the keys that they renew in Redis."""

from __future__ import annotations

import threading
import time
from typing import Final

from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from configuration.redis.keys import WORKER_KEY_PATTERN
from configuration.redis.worker_status import WorkerStatus

_FRESH_SECONDS: Final = 1.0


class LiveWorkers:
    """The statuses of all live workers, as they were at most a second ago."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._statuses: list[WorkerStatus] = []
        self._failure: RedisError | None = None

    def statuses(self) -> list[WorkerStatus]:
        """By model and id. Raises RedisError where Redis does not answer."""
        with self._lock:
            if time.monotonic() - self._read_at > _FRESH_SECONDS:
                try:
                    self._statuses = sorted(self._read(), key=lambda status: (status.model, status.id))
                    self._failure = None
                except RedisError as error:
                    # Kept as an answer is: or all who ask would wait, one after the other, for a server that hangs.
                    self._failure = error
                self._read_at = time.monotonic()
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            return list(self._statuses)

    def of_model(self, model: str) -> list[WorkerStatus]:
        return [status for status in self.statuses() if status.model == model]

    def awaited(self, model: str) -> str | None:
        """What `model` still waits for, in words; None where one of its workers is ready."""
        statuses = self.of_model(model)
        if any(status.stage == "ready" for status in statuses):
            return None
        if not statuses:
            return f"no worker of model {model!r} is running; start one with `emmetd worker` or `emmetd serve`"
        stages = ", ".join(f"{status.stage}{f' ({status.detail})' if status.detail else ''}" for status in statuses)
        return f"the worker of model {model!r} is not ready yet: {stages}"

    def _read(self) -> list[WorkerStatus]:
        keys = list(self._redis.scan_iter(match=WORKER_KEY_PATTERN, count=1000))
        values = self._redis.mget(keys) if keys else []
        found = []
        for value in values:
            if value is not None:
                try:
                    found.append(WorkerStatus.model_validate_json(value))
                except ValidationError:  # a worker of another release; it is not one that we can count on
                    continue
        return found
