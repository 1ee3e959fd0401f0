"""Queries on what waits and what runs, for graphs and alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.clock import now
from store.schema.tables import TaskRow
from store.work.kinds import KINDS


@dataclass(frozen=True)
class Waiting:
    """How much waits in `queue`, and since when the oldest of it. Batches that wait for their line are `edits:NAME`."""

    queue: str
    depth: int
    oldest: datetime


def waiting(session: Session) -> list[Waiting]:
    """All queues in which something waits."""
    found = []
    for kind in KINDS:
        if kind.waits_for_line:
            oldest = func.min(kind.row.created_at, type_=kind.row.created_at.type)
            queued = select(kind.row.model, func.count(), oldest).where(kind.row.state == "queued")
            for model, depth, since in session.execute(queued.group_by(kind.row.model)):
                found.append(Waiting(f"{kind.plural}:{model}", depth, since))
    oldest = func.min(TaskRow.created_at, type_=TaskRow.created_at.type)
    tasks = select(TaskRow.queue, func.count(), oldest).where(TaskRow.state == "pending")
    return found + [Waiting(*row) for row in session.execute(tasks.group_by(TaskRow.queue))]


def running(session: Session) -> dict[tuple[str, str], int]:
    """(model, kind) → tasks that a worker holds a live lease of. What no worker has is left out."""
    held = select(TaskRow.model, TaskRow.kind, func.count()).where(
        TaskRow.state == "running", TaskRow.lease_expires_at >= now()
    )
    return {(model, kind): found for model, kind, found in session.execute(held.group_by(TaskRow.model, TaskRow.kind))}
