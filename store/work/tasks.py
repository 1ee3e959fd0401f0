"""Queries on tasks: the outbox, leases and resume points of all work."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from configuration import tracing
from store.clock import new_id, now
from store.errors import LeaseLostError
from store.schema.tables import BatchRow, JobRow, TaskRow
from store.work.kinds import TASK_KINDS, belongs_to, kind_of

MOST_ATTEMPTS = 5
_AT_ONCE: Final = 1000
"""Ids in one statement: a database takes only so many parameters."""


def create(
    session: Session, *, of: JobRow, kind: str, shard: int = 0, payload: dict[str, Any] | None = None
) -> TaskRow:
    """A task of the job `of`, waiting for the relay to enqueue it. The row commits with what made it necessary.

    It belongs to the trace of the request that brought its batch, or else to the current one.
    """
    row = TaskRow(
        id=new_id("task"),
        model=of.model,
        queue=TASK_KINDS[kind].queue(of.model),
        kind=kind,
        shard=shard,
        payload=payload or {},
        traceparent=of.traceparent if isinstance(of, BatchRow) else tracing.traceparent(),
        state="pending",
        created_at=now(),
        **{kind_of(of).task_column: of.id},
    )
    session.add(row)
    session.flush()
    return row


def get(session: Session, task_id: str) -> TaskRow | None:
    return session.get(TaskRow, task_id)


def of_batch(session: Session, batch_id: str, kind: str) -> list[TaskRow]:
    """The batch's tasks of one kind, by shard."""
    query = select(TaskRow).where(TaskRow.batch_id == batch_id, TaskRow.kind == kind)
    return list(session.scalars(query.order_by(TaskRow.shard)))


def to_enqueue(session: Session, limit: int = 500) -> list[TaskRow]:
    """Pending tasks that have not been handed to RQ."""
    query = select(TaskRow).where(TaskRow.state == "pending", TaskRow.enqueued_at.is_(None))
    return list(session.scalars(query.order_by(TaskRow.created_at).limit(limit)))


def urgent_batches(session: Session, rows: Collection[TaskRow]) -> set[str]:
    """Ids of those batches of the tasks that are urgent: what is to be done for them goes before what waits."""
    of = {row.batch_id for row in rows if row.batch_id is not None}
    return set(session.scalars(select(BatchRow.id).where(BatchRow.id.in_(of), BatchRow.urgent.is_(True))))


@dataclass(frozen=True)
class Enqueued:
    """A task that was handed to RQ: all that is needed to look for it there."""

    id: str
    queue: str
    token: int


def enqueued_long_ago(session: Session, seconds: float) -> list[Enqueued]:
    """Pending tasks handed to RQ a while ago: waiting behind others, or forgotten by Redis.

    All of them, however many wait: behind a limit, those that wait rightly would hide the others for good.
    """
    before = now() - timedelta(seconds=seconds)
    late = select(TaskRow.id, TaskRow.queue, TaskRow.token).where(
        TaskRow.state == "pending", TaskRow.enqueued_at < before
    )
    return [Enqueued(*row) for row in session.execute(late)]


def mark_enqueued(session: Session, task_ids: list[str]) -> None:
    session.execute(update(TaskRow).where(TaskRow.id.in_(task_ids)).values(enqueued_at=now()))


def mark_forgotten(session: Session, task_ids: list[str]) -> None:
    """Put tasks that Redis lost back into the outbox."""
    for first in range(0, len(task_ids), _AT_ONCE):
        lost = TaskRow.id.in_(task_ids[first : first + _AT_ONCE])
        session.execute(update(TaskRow).where(lost, TaskRow.state == "pending").values(enqueued_at=None))


def acquire(session: Session, task_id: str, owner: str, lease_seconds: float) -> TaskRow | None:
    """Take the task under a new fencing token; None if it is done, withdrawn or somebody's live lease holds it."""
    free = or_(TaskRow.state == "pending", (TaskRow.state == "running") & (TaskRow.lease_expires_at < now()))
    taken = session.execute(
        update(TaskRow)
        .where(TaskRow.id == task_id, free)
        .values(
            state="running",
            owner=owner,
            token=TaskRow.token + 1,
            attempts=TaskRow.attempts + 1,
            lease_expires_at=now() + timedelta(seconds=lease_seconds),
        )
        .returning(TaskRow.id)
    ).scalar()
    if taken is None:
        return None
    return session.get(TaskRow, task_id, populate_existing=True)


def renew(session: Session, task_id: str, token: int, lease_seconds: float) -> None:
    """Raises LeaseLostError where another worker took the task over."""
    renewed = session.execute(
        update(TaskRow)
        .where(TaskRow.id == task_id, TaskRow.token == token, TaskRow.state == "running")
        .values(lease_expires_at=now() + timedelta(seconds=lease_seconds))
        .returning(TaskRow.id)
    ).scalar()
    if renewed is None:
        raise LeaseLostError(f"task {task_id} is no longer held under token {token}")


def keep_place(session: Session, task_id: str, token: int, payload: dict[str, Any], lease_seconds: float) -> None:
    """Renew the lease with `payload`, from which whoever takes the task up next goes on.

    Attempts are counted anew: those that got further were no failures. Raises LeaseLostError for a zombie.
    """
    kept = session.execute(
        update(TaskRow)
        .where(TaskRow.id == task_id, TaskRow.token == token, TaskRow.state == "running")
        .values(payload=payload, attempts=1, lease_expires_at=now() + timedelta(seconds=lease_seconds))
        .returning(TaskRow.id)
    ).scalar()
    if kept is None:
        raise LeaseLostError(f"task {task_id} is no longer held under token {token}")


def remember_attempt(session: Session, task_id: str, token: int, traceparent: str | None) -> None:
    """Keep the place in its trace of the attempt that holds the task under `token`."""
    held = update(TaskRow).where(TaskRow.id == task_id, TaskRow.token == token)
    session.execute(held.values(attempt_traceparent=traceparent))


def complete(session: Session, task_id: str, token: int, result: dict[str, Any] | None = None) -> None:
    """Mark the task done, in the transaction that keeps what it made. Raises LeaseLostError for a zombie."""
    done = session.execute(
        update(TaskRow)
        .where(TaskRow.id == task_id, TaskRow.token == token, TaskRow.state == "running")
        .values(state="done", result=result, finished_at=now(), owner=None, lease_expires_at=None)
        .returning(TaskRow.id)
    ).scalar()
    if done is None:
        raise LeaseLostError(f"task {task_id} is no longer held under token {token}")


def is_held(session: Session, job: JobRow) -> bool:
    """Whether a worker is at any of the job's tasks, by a lease that has not run out."""
    held = select(TaskRow.id).where(belongs_to(job), TaskRow.state == "running", TaskRow.lease_expires_at >= now())
    return session.scalar(held.limit(1)) is not None


def expired(session: Session, limit: int = 500, *, hold: bool = False) -> list[TaskRow]:
    """Running tasks whose worker stopped renewing its lease.

    `hold` keeps them so until this transaction ends: leases are renewed without a turn among writers. One that is being
    renewed just now is left out.
    """
    query = select(TaskRow).where(TaskRow.state == "running", TaskRow.lease_expires_at < now()).limit(limit)
    return list(session.scalars(query.with_for_update(skip_locked=True) if hold else query))


def release(session: Session, row: TaskRow) -> None:
    """Give a dead or stopping worker's task back to the outbox, where the relay finds it."""
    row.state, row.owner, row.lease_expires_at, row.enqueued_at = "pending", None, None, None


def more_urgent_waits(session: Session, row: TaskRow) -> bool:
    """Whether anything of the task's model waits to be run, other than what is of its own kind."""
    waiting = select(TaskRow.id).where(
        TaskRow.model == row.model, TaskRow.state == "pending", TaskRow.kind != row.kind, TaskRow.id != row.id
    )
    return session.scalar(waiting.limit(1)) is not None


def waiting_beside(session: Session, row: TaskRow, *, of_batches: bool = False) -> bool:
    """Whether any other task of the model waits to be run, or any that is `of_batches`."""
    waiting = select(TaskRow.id).where(TaskRow.model == row.model, TaskRow.state == "pending", TaskRow.id != row.id)
    if of_batches:
        waiting = waiting.where(TaskRow.batch_id.is_not(None))
    return session.scalar(waiting.limit(1)) is not None


def abandon(session: Session, row: TaskRow) -> None:
    """This task shall not be tried again; a worker that still holds it can no longer commit."""
    row.state, row.owner, row.lease_expires_at, row.finished_at = "withdrawn", None, None, now()


def withdraw(session: Session, job: JobRow) -> None:
    """Nothing more of this job shall run."""
    session.execute(
        update(TaskRow)
        .where(belongs_to(job), TaskRow.state != "done")
        .values(state="withdrawn", owner=None, lease_expires_at=None, finished_at=now())
    )
