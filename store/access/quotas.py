"""Queries on how much each caller has asked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from store.schema.tables import BatchRow, EvaluationRow, ExportRow, StatisticRow


def unfinished(session: Session, caller: str) -> int:
    """The caller's batches, evaluations, exports and statistics that wait or run."""
    waiting = (
        select(func.count(BatchRow.id)).where(BatchRow.caller == caller, BatchRow.state.not_in(FINAL_STATES)),
        select(func.count(EvaluationRow.id)).where(EvaluationRow.caller == caller, EvaluationRow.finished_at.is_(None)),
        select(func.count(ExportRow.id)).where(ExportRow.caller == caller, ExportRow.finished_at.is_(None)),
        select(func.count(StatisticRow.id)).where(StatisticRow.caller == caller, StatisticRow.finished_at.is_(None)),
    )
    return sum(session.scalars(union_all(*waiting)))


def facts_since(session: Session, caller: str, since: datetime) -> list[tuple[datetime, int]]:
    """When the caller's edits and evaluations were accepted, and how many facts each has; oldest first."""
    edited = select(BatchRow.created_at, BatchRow.facts).where(
        BatchRow.caller == caller, BatchRow.kind == "edit", BatchRow.created_at > since
    )
    measured = select(EvaluationRow.created_at, EvaluationRow.n_facts).where(
        EvaluationRow.caller == caller, EvaluationRow.created_at > since
    )
    return sorted((at, count) for query in (edited, measured) for at, count in session.execute(query))
