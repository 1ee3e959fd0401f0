"""Queries on what waits and what runs, for graphs and alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.clock import now
from store.schema.tables import BatchRow, TaskRow

KINDS: Final = ("plan", "values", "solve", "revert", "evaluate", "export", "statistic")
"""Of tasks."""


@dataclass(frozen=True)
class Waiting:
    """How much waits in `queue`, and since when the oldest of it. Batches that wait for their line are `edits:NAME`."""

    queue: str
    depth: int
    oldest: datetime


def waiting(session: Session) -> list[Waiting]:
    """All queues in which something waits."""
    oldest_batch = func.min(BatchRow.created_at, type_=BatchRow.created_at.type)
    batches = select(BatchRow.model, func.count(), oldest_batch).where(BatchRow.state == "queued")
    oldest_task = func.min(TaskRow.created_at, type_=TaskRow.created_at.type)
    tasks = select(TaskRow.queue, func.count(), oldest_task).where(TaskRow.state == "pending")
    found = [
        (f"edits:{model}", depth, oldest) for model, depth, oldest in session.execute(batches.group_by(BatchRow.model))
    ]
    found += [(name, depth, oldest) for name, depth, oldest in session.execute(tasks.group_by(TaskRow.queue))]
    return [Waiting(*row) for row in found]


def running(session: Session) -> dict[tuple[str, str], int]:
    """(model, kind) → tasks that a worker holds a live lease of. What no worker has is left out."""
    held = select(TaskRow.model, TaskRow.kind, func.count()).where(
        TaskRow.state == "running", TaskRow.lease_expires_at >= now()
    )
    return {(model, kind): found for model, kind, found in session.execute(held.group_by(TaskRow.model, TaskRow.kind))}
