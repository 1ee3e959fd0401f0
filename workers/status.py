"""Publishes this worker's status: a Redis key that expires, renewed by a thread."""

from __future__ import annotations

import os
import socket
import threading
import time

import structlog
from redis import Redis
from redis.exceptions import RedisError

from configuration.machine.memory import resident_bytes
from configuration.redis.keys import worker_key
from configuration.redis.worker_status import WorkerStage, WorkerStatus
from workers.metrics import WORKER_MEMORY

INTERVAL_SECONDS = 2.0
LIFETIME_SECONDS = 10

log = structlog.get_logger(__name__)


class StatusBoard(threading.Thread):
    """The worker's present status. Setting it publishes it at once; the thread renews it."""

    def __init__(self, redis: Redis, worker_id: str, model: str, device: str) -> None:
        super().__init__(name="status", daemon=True)
        self._redis = redis
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._status = WorkerStatus(
            id=worker_id,
            model=model,
            stage="starting",
            pid=os.getpid(),
            host=socket.gethostname(),
            device=device,
            updated_at=time.time(),
        )

    def set(self, stage: WorkerStage, detail: str = "") -> None:
        with self._lock:
            self._status = self._status.model_copy(update={"stage": stage, "detail": detail})
        self._publish()

    @property
    def stage(self) -> WorkerStage:
        with self._lock:
            return self._status.stage

    @property
    def text(self) -> str:
        """The line for people."""
        with self._lock:
            return self._status.detail

    def detail(self, detail: str) -> None:
        """Say how far the present stage is."""
        self.set(self.stage, detail)

    def busy(self, task: str | None) -> None:
        with self._lock:
            self._status = self._status.model_copy(update={"busy_with": task})

    def run(self) -> None:
        while not self._ended.wait(INTERVAL_SECONDS):
            self._publish()

    def close(self) -> None:
        """Take the key away: this worker is gone."""
        self._ended.set()
        try:
            self._redis.delete(worker_key(self._status.id))
        except RedisError as error:
            log.warning("status not withdrawn", error=str(error))

    def _publish(self) -> None:
        memory = resident_bytes()
        WORKER_MEMORY.labels(self._status.model).set(memory)
        with self._lock:
            self._status = self._status.model_copy(update={"updated_at": time.time(), "memory_bytes": memory})
            text = self._status.model_dump_json()
        try:
            self._redis.set(worker_key(self._status.id), text, ex=LIFETIME_SECONDS)
        except RedisError as error:
            log.warning("status not published", error=str(error))
