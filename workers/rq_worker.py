"""The RQ worker: no fork, since the model stays in this process's memory."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import WorkerStatus

HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 5


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's time limit is a SIGALRM exception anywhere in the code; tasks look at their lease between steps instead."""

    def setup_death_penalty(self) -> None:
        """No alarm is set."""

    def cancel_death_penalty(self) -> None:
        """There is none."""


class ModelWorker(SimpleWorker):
    """Runs jobs in this process, with heartbeats while one runs, and stops between two steps of a job."""

    death_penalty_class = NoDeathPenalty

    def __init__(self, queues: list[Queue], *, stopping: threading.Event, **options: Any) -> None:
        super().__init__(queues, serializer=JSONSerializer, **options)
        self._stopping = stopping
        self.log_result_lifespan = False

    @property
    def dequeue_timeout(self) -> int:
        """Short, so that a request to stop is heard soon; the connection's socket timeout is longer."""
        return POLL_SECONDS

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGINT, self._request_stop)
        signal.signal(signal.SIGTERM, self._request_stop)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        """The task at hand gives itself back at its next step; a second signal changes nothing: never mid-write.

        An idle worker leaves its blocking read at once. A job that it was just handed is not lost: SQL has the task.
        """
        again = self._stop_requested
        self._stopping.set()
        self._stop_requested = True
        if not again and self._state == WorkerStatus.IDLE:
            raise StopRequested

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(HEARTBEAT_SECONDS):
                try:
                    self.maintain_heartbeats(job, execution)
                except RedisError as error:
                    self.log.warning("no heartbeat: %s", error)

        thread = threading.Thread(target=beat, name="rq-heartbeat", daemon=True)
        thread.start()
        try:
            return bool(super().perform_job(job, queue, execution))
        finally:
            ended.set()
            thread.join()
