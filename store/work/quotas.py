"""Queries on how much each caller has asked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from store.work.kinds import KINDS


def unfinished(session: Session, caller: str) -> int:
    """The caller's jobs of all kinds that wait or run."""
    waiting = (select(func.count(kind.row.id)).where(kind.row.caller == caller, kind.unfinished) for kind in KINDS)
    return sum(session.scalars(union_all(*waiting)))


def facts_since(session: Session, caller: str, since: datetime) -> list[tuple[datetime, int]]:
    """When the caller's edits and evaluations were accepted, and how many facts each has; oldest first."""
    counted = [
        select(kind.row.created_at, kind.facts).where(
            kind.row.caller == caller, kind.row.created_at > since, *kind.facts_count_where
        )
        for kind in KINDS
        if kind.facts is not None
    ]
    return sorted((at, count) for query in counted for at, count in session.execute(query))
