"""Queries on how much each caller has asked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from versions.tables import BatchRow


def unfinished(session: Session, caller: str) -> int:
    """The caller's batches that wait or run."""
    query = select(func.count()).select_from(BatchRow)
    return session.scalar(query.where(BatchRow.caller == caller, BatchRow.state.not_in(FINAL_STATES))) or 0


def facts_since(session: Session, caller: str, since: datetime) -> list[tuple[datetime, int]]:
    """When the caller's batches of edits were accepted, and how many facts each has; oldest first."""
    query = select(BatchRow.created_at, BatchRow.facts).where(
        BatchRow.caller == caller, BatchRow.kind == "edit", BatchRow.created_at > since
    )
    return [(at, count) for at, count in session.execute(query.order_by(BatchRow.created_at))]
