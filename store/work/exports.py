"""What is an export's own: a version made into a file for other programs, kept while there is room."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.schema.tables import ExportRow
from store.work import lifecycle
from store.work.kinds import EXPORT

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


def create(session: Session, *, model: str, version: int, format: str, max_rank: int, caller: str = "") -> ExportRow:
    """A new export and its task."""
    return lifecycle.create(
        session, EXPORT, 1, model=model, version=version, format=format, max_rank=max_rank, caller=caller
    )


def finish(row: ExportRow, *, blob: str, size: int, report: dict[str, Any]) -> None:
    row.blob, row.bytes, row.report = blob, size, report
    lifecycle.succeed(row, 1)


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
        lifecycle.remove(session, row)
    if gone:
        audit.record(session, actor, "exports.expired", model=model, exports=[row.id for row, _ in gone])
    return {row.blob: at for row, at in reversed(gone) if row.blob is not None}


def ended_before(session: Session, before: datetime) -> list[ExportRow]:
    return list(session.scalars(select(ExportRow).where(ExportRow.finished_at < before)))
