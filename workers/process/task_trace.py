"""A span for each attempt at a task, in the trace of the request that it goes back to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from configuration import tracing
from store.schema.database import Database
from store.schema.tables import TaskRow
from store.work import tasks
from store.work.kinds import is_sharded, job_ids

log = structlog.get_logger(__name__)


@contextmanager
def attempt(database: Database, task: TaskRow, worker_id: str) -> Iterator[None]:
    """The span of an attempt at `task` around the block, linked to the one of the attempt before.

    A worker that is killed never sends its span: what it was is kept with the task, so that the next one names it.
    """
    if not tracing.is_on():
        yield
        return
    attributes = {
        "emmetd.task.id": task.id,
        "emmetd.task.kind": task.kind,
        "emmetd.task.shard": task.shard if is_sharded(task) else None,
        "emmetd.task.attempt": task.attempts,
        "emmetd.worker.id": worker_id,
        "emmetd.model": task.model,
        **{f"emmetd.{name}.id": job for name, job in job_ids(task).items()},
    }
    before = (task.attempt_traceparent,)
    with tracing.span(f"{task.kind} task", attributes, kind="consumer", parent=task.traceparent, links=before):
        try:
            with database.writing() as session:
                tasks.remember_attempt(session, task.id, task.token, tracing.traceparent())
        except SQLAlchemyError as error:
            log.warning("the attempt's place in its trace was not kept", error=str(getattr(error, "orig", error)))
        yield
