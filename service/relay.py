"""The relay: what SQL says shall run is handed to RQ, and what Redis forgot or a dead worker held is handed on again.

Any number of relays may run side by side. A job that was enqueued twice finds its task taken the second time.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from configuration import tracing
from configuration.redis.keys import RELAY_WAKE, TASK_FUNCTION
from store.schema.database import Database
from store.schema.tables import BatchRow, TaskRow
from store.work import lifecycle, lines, tasks
from store.work.kinds import is_sharded, kind_of

INTERVAL_SECONDS: Final = 0.25
_TOGETHER_SECONDS: Final = 0.02
"""What becomes ready within so long of a look is handed on by the next one: hundreds of requests are no looks each."""
SWEEP_SECONDS: Final = 2.0
FORGOTTEN_SECONDS: Final = 5.0
"""A task that was handed to RQ this long ago and is neither queued there nor taken was lost."""
_LONGEST_PAUSE_SECONDS: Final = 5.0
_LISTEN_SECONDS: Final = 1
_FAILED_JOB_SECONDS: Final = 3600

log = structlog.get_logger(__name__)


class Relay(threading.Thread):
    """Looks at SQL when a request or a worker wakes it, and four times a second whatever else was heard.

    Outlives any absence of Redis or the database.
    """

    def __init__(self, database: Database, redis: Redis) -> None:
        super().__init__(name="relay", daemon=True)
        self._database = database
        self._redis = redis
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._swept_at = float("-inf")
        self._listener = threading.Thread(target=self._listen, name="relay-listener", daemon=True)

    def wake(self) -> None:
        """There is something new in SQL."""
        self._woken.set()

    def stop(self) -> None:
        """End after the round at hand; one that hangs on Redis is not waited for, it can be cut at any point."""
        self._ended.set()
        self._woken.set()
        if self.is_alive():
            self.join(timeout=_LONGEST_PAUSE_SECONDS)

    def run(self) -> None:
        self._listener.start()
        pause, away = INTERVAL_SECONDS, False
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self.round()
            except (RedisError, SQLAlchemyError, OSError) as error:
                if not away:
                    log.warning("the relay waits", error=f"{type(error).__name__}: {error}")
                away, pause = True, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except Exception:
                # Without this thread nothing would ever run again: say it, and go on.
                log.exception("the relay failed")
                away, pause = True, min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                if away:
                    log.info("the relay goes on")
                away, pause = False, INTERVAL_SECONDS
            self._woken.wait(pause)
            self._ended.wait(max(0.0, began + _TOGETHER_SECONDS - time.monotonic()))
            self._woken.clear()

    def _listen(self) -> None:
        """Pass on what workers say through Redis. Without it the relay is a little later, no more."""
        while not self._ended.is_set():
            try:
                if self._redis.blpop([RELAY_WAKE], timeout=_LISTEN_SECONDS) is not None:
                    self.wake()
            except Exception as error:
                # At the end its connection is closed while it waits on it; what comes of that is no matter.
                if not self._ended.wait(_LISTEN_SECONDS) and not isinstance(error, RedisError | OSError):
                    log.exception("the relay cannot listen")

    def round(self) -> None:
        """Start what can start, enqueue what waits, and now and then sweep."""
        if time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._end_the_cancelled()
            self._take_from_the_dead()
            self._recall_the_forgotten()
            self._swept_at = time.monotonic()
        with self._database.reading() as session:
            if not lines.startable(session) and not tasks.to_enqueue(session, limit=1):
                return
        with self._database.writing() as session:
            started = lines.advance(session)
            waiting = tasks.to_enqueue(session)
            urgent = tasks.urgent_batches(session, waiting)
        for batch in started:
            _trace_the_wait(batch)
        # Redis is spoken to outside of the transaction: while it hangs nobody else could write. A crash in between
        # leaves the task to be enqueued again, under the same job id.
        for task in waiting:
            with _enqueuing(task):
                self._queue(task.queue).enqueue_call(
                    TASK_FUNCTION,
                    args=(task.id,),
                    job_id=job_id(task.id, task.token),
                    timeout=-1,
                    result_ttl=0,
                    failure_ttl=_FAILED_JOB_SECONDS,
                    at_front=task.batch_id in urgent,
                )
        if waiting:
            with self._database.writing() as session:
                tasks.mark_enqueued(session, [task.id for task in waiting])

    def _end_the_cancelled(self) -> None:
        with self._database.reading() as session:
            if not lifecycle.unattended(session):
                return
        with self._database.writing() as session:
            for job in lifecycle.cancel_unattended(session):
                log.info("cancelled: no worker is at it any more", **{kind_of(job).name: job.id})

    def _take_from_the_dead(self) -> None:
        with self._database.reading() as session:
            if not tasks.expired(session, limit=1):
                return
        with self._database.writing() as session:
            for task in tasks.expired(session, hold=True):
                with tracing.continuing(task.traceparent):
                    if task.attempts >= tasks.MOST_ATTEMPTS:
                        log.error("a task is given up", task=task.id, kind=task.kind, attempts=task.attempts)
                        _give_up(session, task)
                    else:
                        log.warning("a worker is gone; its task is handed on", task=task.id, owner=task.owner)
                        tasks.release(session, task)

    def _recall_the_forgotten(self) -> None:
        with self._database.reading() as session:
            late = tasks.enqueued_long_ago(session, FORGOTTEN_SECONDS)
        by_queue: dict[str, list[tasks.Enqueued]] = defaultdict(list)
        for task in late:
            by_queue[task.queue].append(task)
        lost = []
        for name, rows in by_queue.items():
            queued = set(self._queue(name).get_job_ids())
            lost += [task.id for task in rows if job_id(task.id, task.token) not in queued]
        if lost:
            log.warning("redis lost tasks; they are enqueued again", tasks=len(lost))
            with self._database.writing() as session:
                tasks.mark_forgotten(session, lost)

    def _queue(self, name: str) -> Queue:
        return Queue(name, connection=self._redis, serializer=JSONSerializer)


def job_id(task_id: str, token: int) -> str:
    """RQ's job id for a task: the same until a worker has held the task."""
    return f"{task_id}-{token}"


def _enqueuing(task: TaskRow) -> AbstractContextManager[object]:
    """A span around handing the task to RQ, linked to the attempt that did not end it."""
    about = {
        "emmetd.task.id": task.id,
        "emmetd.task.kind": task.kind,
        "emmetd.task.shard": task.shard if is_sharded(task) else None,
        "emmetd.edit.id": task.batch_id,
    }
    return tracing.span("enqueue", about, kind="producer", parent=task.traceparent, links=(task.attempt_traceparent,))


def _trace_the_wait(batch: BatchRow) -> None:
    """The time that the batch has waited for its line, which has ended now, as a span."""
    assert batch.started_at is not None
    about = {"emmetd.edit.id": batch.id, "emmetd.model": batch.model}
    tracing.record("queued", about, parent=batch.traceparent, start=batch.created_at, end=batch.started_at)


def _give_up(session: Session, task: TaskRow) -> None:
    detail = (
        f"{task.attempts} workers in a row stopped while they did this ({task.kind}); the last lines of a worker's log "
        "say why, most often that the machine ran out of memory. Send it again, smaller or after that was repaired"
    )
    error = {"code": "worker_lost", "title": "The worker was lost again and again", "detail": detail, "facts": []}
    tasks.abandon(session, task)
    job = lifecycle.of_task(session, task)
    if job is not None:
        lifecycle.end_with_error(session, job, error)
