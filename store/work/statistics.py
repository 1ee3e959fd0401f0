"""Queries on statistics: C0 of some layers, made ahead of time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from configuration.redis.keys import values_queue
from store.clock import new_id, now
from store.errors import StatisticNotFoundError
from store.schema.tables import StatisticRow, TaskRow
from store.work import tasks


def create(
    session: Session, *, model: str, layers: list[int] | None, corpus: str, tokens: int | None, caller: str = ""
) -> StatisticRow:
    """A new statistic and its task, which is as long as a shard of values and waits like one."""
    row = StatisticRow(
        id=new_id("stat"),
        seq=(session.scalar(select(func.max(StatisticRow.seq))) or 0) + 1,
        model=model,
        layers=layers,
        corpus=corpus,
        tokens=tokens,
        caller=caller,
        state="queued",
        progress={"stage": "queued", "done": 0, "total": 1},
        created_at=now(),
    )
    session.add(row)
    session.flush()
    tasks.create(session, model=model, queue=values_queue(model), kind="statistic", statistic_id=row.id)
    return row


def get(session: Session, statistic_id: str) -> StatisticRow:
    row = session.get(StatisticRow, statistic_id)
    if row is None:
        raise StatisticNotFoundError(f"no statistic {statistic_id!r}")
    return row


def page(
    session: Session,
    model: str | None,
    before_seq: int | None,
    limit: int,
    *,
    models: Collection[str] | None = None,
) -> list[StatisticRow]:
    """Newest first, those of `models` alone where they are named; one more than `limit` where there are more."""
    query = select(StatisticRow)
    if models is not None:
        query = query.where(StatisticRow.model.in_(models))
    if model is not None:
        query = query.where(StatisticRow.model == model)
    if before_seq is not None:
        query = query.where(StatisticRow.seq < before_seq)
    return list(session.scalars(query.order_by(StatisticRow.seq.desc()).limit(limit + 1)))


def shared_blob(session: Session, key: str) -> str | None:
    """The blob of a statistic that some worker made, of whichever NAME its weights have; the newest, if several."""
    made = select(StatisticRow.report).where(StatisticRow.state == "succeeded").order_by(StatisticRow.seq.desc())
    for report in session.scalars(made):
        blob = shared_blobs(report).get(key)
        if blob is not None:
            return blob
    return None


def shared_blobs(report: dict[str, Any] | None) -> dict[str, str]:
    """What a statistic's report says that lies in the blob store: by key, the names of blobs."""
    return dict((report or {}).get("blobs", {}))


def unfinished(session: Session, model: str) -> int:
    query = select(func.count()).select_from(StatisticRow)
    return session.scalar(query.where(StatisticRow.model == model, StatisticRow.finished_at.is_(None))) or 0


def cancel(session: Session, row: StatisticRow) -> StatisticRow:
    """End it now, unless it has ended. A worker that makes it learns with its lease that nobody waits for it."""
    if row.finished_at is None:
        for task in session.scalars(select(TaskRow).where(TaskRow.statistic_id == row.id, TaskRow.state != "done")):
            tasks.abandon(session, task)
        row.state, row.finished_at = "cancelled", now()
        row.error = {"code": "cancelled", "title": "Cancelled", "detail": "cancelled on request", "facts": []}
    return row


def finish(
    session: Session, row: StatisticRow, *, report: dict[str, Any] | None = None, error: dict[str, Any] | None = None
) -> None:
    row.state = "failed" if error else "succeeded"
    row.report, row.error, row.finished_at = report, error, now()
