"""Queries on evaluations."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from store.clock import new_id, now
from store.errors import EvaluationNotFoundError
from store.schema.tables import EvaluationRow, TaskRow
from store.work import tasks


def create(
    session: Session,
    *,
    model: str,
    version: int,
    compare_with: int | None,
    metrics: list[str],
    facts: list[dict[str, Any]],
    caller: str = "",
) -> EvaluationRow:
    row = EvaluationRow(
        id=new_id("eval"),
        seq=(session.scalar(select(func.max(EvaluationRow.seq))) or 0) + 1,
        caller=caller,
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


def page(
    session: Session,
    model: str | None,
    before_seq: int | None,
    limit: int,
    *,
    models: Collection[str] | None = None,
) -> list[EvaluationRow]:
    """Newest first, those of `models` alone where they are named; one more than `limit` where there are more.

    Without their facts and rows, which are long.
    """
    query = select(EvaluationRow).options(
        defer(EvaluationRow.facts, raiseload=True), defer(EvaluationRow.rows, raiseload=True)
    )
    if models is not None:
        query = query.where(EvaluationRow.model.in_(models))
    if model is not None:
        query = query.where(EvaluationRow.model == model)
    if before_seq is not None:
        query = query.where(EvaluationRow.seq < before_seq)
    return list(session.scalars(query.order_by(EvaluationRow.seq.desc()).limit(limit + 1)))


def unfinished(session: Session, model: str) -> int:
    query = select(func.count()).select_from(EvaluationRow)
    return session.scalar(query.where(EvaluationRow.model == model, EvaluationRow.finished_at.is_(None))) or 0


def cancel(session: Session, row: EvaluationRow) -> EvaluationRow:
    """End it now, unless it has ended. A worker that measures it learns with its lease that nobody waits for it."""
    if row.finished_at is None:
        for task in session.scalars(select(TaskRow).where(TaskRow.evaluation_id == row.id, TaskRow.state != "done")):
            tasks.abandon(session, task)
        row.state, row.finished_at = "cancelled", now()
        row.error = {"code": "cancelled", "title": "Cancelled", "detail": "cancelled on request", "facts": []}
    return row


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
