"""How a job ends in a worker: its row, its tasks and, of a batch, what the metrics say of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from api_schemas.edits import EditState
from store.clock import now
from store.schema.tables import BatchRow, TaskRow
from store.work import batches, lifecycle, tasks
from workers.metrics import EDIT_BATCH_SECONDS


class CancelledError(Exception):
    """Somebody asked to cancel the batch before its end was committed; nothing of it is kept."""


def end_batch(session: Session, batch: BatchRow, state: EditState, error: dict[str, Any] | None = None) -> None:
    """Put the batch into a final state and withdraw what was still to be done for it."""
    if error is None:
        batches.set_state(session, batch, state, version=batch.version)
        tasks.withdraw(session, batch)
    else:
        lifecycle.end(session, batch, state, error)
    _observe(session, batch)


def end_with_error(session: Session, task: TaskRow, error: dict[str, Any]) -> None:
    """End the job whose task ended with `error`."""
    job = lifecycle.of_task(session, task)
    if job is None:
        return
    lifecycle.end_with_error(session, job, error)
    if isinstance(job, BatchRow):
        _observe(session, job)


def _observe(session: Session, batch: BatchRow) -> None:
    """How long the batch took, once the transaction that ends it is there."""
    duration = EDIT_BATCH_SECONDS.labels(batch.model, batch.algorithm)
    seconds = (now() - batch.created_at).total_seconds()
    # Of a transaction that fails the batch has not ended: it will once more.
    event.listen(session, "after_commit", lambda _: duration.observe(seconds), once=True)
