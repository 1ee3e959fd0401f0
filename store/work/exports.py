"""Queries on exports: versions made into files for other programs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from configuration.redis.keys import evaluate_queue
from store.access import audit
from store.access.audit import Actor
from store.clock import new_id, now
from store.errors import ExportNotFoundError
from store.schema.tables import ExportRow, TaskRow
from store.work import tasks

RETRYABLE = frozenset({"machine", "internal", "worker_lost"})
"""Codes of failures that another try may not meet."""
RETRY_AFTER = timedelta(seconds=60)
"""For so long a failure is told to whoever asks; then the export is tried again."""

FETCH_WITHIN = timedelta(seconds=60)
"""For so long an export that has ended is there, however many others are made."""


def find(session: Session, model: str, version: int, format: str, max_rank: int) -> ExportRow | None:
    """The newest export of that kind, unless it failed a while ago for a reason that may have passed."""
    query = select(ExportRow).where(
        ExportRow.model == model,
        ExportRow.version == version,
        ExportRow.format == format,
        ExportRow.max_rank == max_rank,
    )
    row = session.scalar(query.order_by(ExportRow.created_at.desc(), ExportRow.id.desc()).limit(1))
    if row is not None and may_be_retried(row) and row.finished_at is not None:
        return row if row.finished_at > now() - RETRY_AFTER else None
    return row


def may_be_retried(row: ExportRow) -> bool:
    """Whether it failed for a reason that may have passed when it is tried again."""
    return row.error is not None and row.error["code"] in RETRYABLE


def unfinished(session: Session, model: str) -> int:
    query = select(func.count()).select_from(ExportRow)
    return session.scalar(query.where(ExportRow.model == model, ExportRow.finished_at.is_(None))) or 0


def create(session: Session, *, model: str, version: int, format: str, max_rank: int, caller: str = "") -> ExportRow:
    """A new export and its task."""
    row = ExportRow(
        id=new_id("export"),
        model=model,
        version=version,
        format=format,
        max_rank=max_rank,
        caller=caller,
        state="queued",
        progress={"stage": "queued", "done": 0, "total": 1},
        created_at=now(),
    )
    session.add(row)
    session.flush()
    tasks.create(session, model=model, queue=evaluate_queue(model), kind="export", export_id=row.id)
    return row


def get(session: Session, export_id: str) -> ExportRow:
    row = session.get(ExportRow, export_id)
    if row is None:
        raise ExportNotFoundError(f"no export {export_id!r}")
    return row


def finish(session: Session, row: ExportRow, *, blob: str, size: int, report: dict[str, Any]) -> None:
    row.state, row.blob, row.bytes, row.report, row.finished_at = "succeeded", blob, size, report, now()
    row.progress = {"stage": "done", "done": 1, "total": 1}


def fail(session: Session, row: ExportRow, error: dict[str, Any]) -> None:
    row.state, row.error, row.finished_at = "failed", error, now()


def make_room(session: Session, actor: Actor, model: str, most: int) -> dict[str, datetime]:
    """Remove the oldest ended exports of `model`, so that with the next there are `most`.

    One that ended a moment ago stays for whoever waits for it. The blobs of those that went, each with when its row was
    finished: `collection.discard_exports` deletes them.
    """
    ended = select(ExportRow).where(ExportRow.model == model, ExportRow.finished_at.is_not(None))
    newest_first = ended.order_by(ExportRow.finished_at.desc(), ExportRow.id.desc()).offset(most - 1)
    found = [(row, row.finished_at) for row in session.scalars(newest_first)]
    moment = now() - FETCH_WITHIN
    gone = [(row, at) for row, at in found if at is not None and at <= moment]
    for row, _ in gone:
        remove(session, row)
    if gone:
        audit.record(session, actor, "exports.expired", model=model, exports=[row.id for row, _ in gone])
    return {row.blob: at for row, at in reversed(gone) if row.blob is not None}


def ended_before(session: Session, before: datetime) -> list[ExportRow]:
    return list(session.scalars(select(ExportRow).where(ExportRow.finished_at < before)))


def remove(session: Session, row: ExportRow) -> None:
    """The row with its task; its blob goes with the garbage."""
    session.execute(delete(TaskRow).where(TaskRow.export_id == row.id))
    session.flush()
    session.delete(row)
