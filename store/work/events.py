"""Queries on events, the log of every batch's life."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.clock import now
from store.schema.database import note_change
from store.schema.tables import EventRow


def append(session: Session, batch_id: str, kind: str, data: dict[str, Any] | None = None) -> None:
    session.add(EventRow(batch_id=batch_id, kind=kind, data=data or {}, created_at=now()))
    note_change(session, batch_id)


def after(session: Session, batch_id: str, event_id: int, limit: int = 1000) -> list[EventRow]:
    query = select(EventRow).where(EventRow.batch_id == batch_id, EventRow.id > event_id)
    return list(session.scalars(query.order_by(EventRow.id).limit(limit)))


def replace_error_details(session: Session, batch_id: str, text: str) -> None:
    """Put `text` where an event of the batch tells what went wrong: it may quote a fact."""
    for row in session.scalars(select(EventRow).where(EventRow.batch_id == batch_id)):
        error = row.data.get("error")
        if error is not None:
            row.data = {**row.data, "error": {**error, "detail": text}}
