"""Queries on evaluations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from versions.clock import new_id, now
from versions.errors import EvaluationNotFoundError
from versions.tables import EvaluationRow


def create(
    session: Session,
    *,
    model: str,
    version: int,
    compare_with: int | None,
    metrics: list[str],
    facts: list[dict[str, Any]],
) -> EvaluationRow:
    row = EvaluationRow(
        id=new_id("eval"),
        model=model,
        version=version,
        compare_with=compare_with,
        requested_metrics=list(metrics),
        facts=facts,
        n_facts=len(facts),
        state="queued",
        progress={"stage": "queued", "done": 0, "total": len(facts)},
        created_at=now(),
    )
    session.add(row)
    session.flush()
    return row


def get(session: Session, evaluation_id: str) -> EvaluationRow:
    row = session.get(EvaluationRow, evaluation_id)
    if row is None:
        raise EvaluationNotFoundError(f"no evaluation {evaluation_id!r}")
    return row


def unfinished(session: Session, model: str) -> int:
    query = select(func.count()).select_from(EvaluationRow)
    return session.scalar(query.where(EvaluationRow.model == model, EvaluationRow.finished_at.is_(None))) or 0


def finish(
    session: Session,
    row: EvaluationRow,
    *,
    metrics: dict[str, Any] | None = None,
    rows: list[Any] | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    row.state = "failed" if error else "succeeded"
    row.metrics, row.rows, row.error, row.finished_at = metrics, rows, error, now()
