"""The RQ worker: no fork, since the model stays in this process's memory."""

from __future__ import annotations

import itertools
import signal
import threading
from types import FrameType
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty

from configuration.redis.keys import RELAY_WAKE
from workers.ahead import Ahead
from workers.process.task_job import TaskJob, unlearn_pickle

HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 5
RETRY_SECONDS = 2.0

log = structlog.get_logger(__name__)


def work_until_stopped(
    worker_id: str, queues: list[Queue], redis: Redis, stopping: threading.Event, ahead: Ahead | None = None
) -> None:
    """Take jobs from `queues` until SIGTERM or Ctrl-C; while none waits, do what is `ahead`. Call it in the main
    thread.

    RQ's worker ends where Redis is away when it wants to write down that a job has ended. What came of the task is in
    SQL, so another takes its place, and the model stays in memory.
    """
    for number in itertools.count():
        try:
            ModelWorker(queues, stopping=stopping, ahead=ahead, connection=redis, name=f"{worker_id}-{number}").work(
                logging_level="WARNING"
            )
        except (RedisError, StopRequested) as error:
            log.warning("the queue server is away; tasks wait in SQL", error=str(error))
        if stopping.wait(RETRY_SECONDS):
            return


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's time limit is a SIGALRM exception anywhere in the code; tasks look at their lease between steps instead."""

    def setup_death_penalty(self) -> None:
        """No alarm is set."""

    def cancel_death_penalty(self) -> None:
        """There is none."""


class ModelWorker(SimpleWorker):
    """Runs jobs in this process, with heartbeats while one runs, and stops between two steps of a job."""

    death_penalty_class = NoDeathPenalty
    max_connection_wait_time = POLL_SECONDS

    def __init__(
        self, queues: list[Queue], *, stopping: threading.Event, ahead: Ahead | None = None, **options: Any
    ) -> None:
        unlearn_pickle()
        for queue in queues:  # they make jobs too, of those that a lost worker left
            queue.job_class = TaskJob
        super().__init__(queues, job_class=TaskJob, serializer=JSONSerializer, **options)
        self._stopping = stopping
        self._ahead = Ahead() if ahead is None else ahead
        self._waiting = False
        self.log_result_lifespan = False

    @property
    def dequeue_timeout(self) -> int:
        """Short, so that a request to stop is heard soon; the connection's socket timeout is longer."""
        return POLL_SECONDS

    def subscribe(self) -> None:
        """Orders to a worker are in SQL; RQ's channel for them, with its thread and connection, is not needed."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed to."""

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job; only here does a request to stop interrupt what the worker does.

        The first waiting is spent on what is wanted next.
        """
        while self._ahead and not self._stopping.is_set() and not any(queue.count for queue in self.queues):
            self._ahead.do_one()
        self._waiting = True
        try:
            if self._stop_requested:  # while it was still busy; RQ's own waiting would not look again
                raise StopRequested
            return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        finally:
            self._waiting = False

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGINT, self._request_stop)
        signal.signal(signal.SIGTERM, self._request_stop)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        """The task at hand gives itself back at its next step; a second signal changes nothing: never mid-write.

        An idle worker leaves its blocking read at once. A job that it was just handed is not lost: SQL has the task.
        """
        is_second_signal = self._stop_requested
        self._stopping.set()
        self._stop_requested = True
        if not is_second_signal and self._waiting:
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
            self._wake_a_relay()

    def _wake_a_relay(self) -> None:
        """The job's task is done and the next one is in SQL: a relay that hears of it need not look first."""
        try:
            with self.connection.pipeline(transaction=False) as pipeline:
                pipeline.lpush(RELAY_WAKE, 1)
                pipeline.ltrim(RELAY_WAKE, 0, 0)
                pipeline.execute()
        except RedisError as error:
            log.debug("no relay was woken; they look by themselves", error=str(error))
