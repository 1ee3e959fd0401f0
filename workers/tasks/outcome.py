"""How a batch ends: its row, its tasks and what the metrics say of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from api_schemas.edits import EditState
from store.clock import now
from store.schema.tables import BatchRow
from store.work import batches, tasks
from workers.metrics import EDIT_BATCH_SECONDS


class CancelledError(Exception):
    """Somebody asked to cancel the batch before its end was committed; nothing of it is kept."""


def end_batch(session: Session, batch: BatchRow, state: EditState, error: dict[str, Any] | None = None) -> None:
    """Put the batch into a final state and withdraw what was still to be done for it."""
    if error is None:
        batches.set_state(session, batch, state, version=batch.version)
    else:
        batches.fail(session, batch, state, error)
    tasks.withdraw(session, batch.id)
    duration = EDIT_BATCH_SECONDS.labels(batch.model, batch.algorithm)
    seconds = (now() - batch.created_at).total_seconds()
    # Of a transaction that fails the batch has not ended: it will once more.
    event.listen(session, "after_commit", lambda _: duration.observe(seconds), once=True)
