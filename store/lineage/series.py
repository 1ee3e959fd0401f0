"""Reads the versions of a lineage as a series: a page of them from the oldest on, or the newest few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, literal, select
from sqlalchemy.orm import Session

from store.lineage import versions as lineage
from store.lineage.facts_in_force import chunks
from store.schema.tables import BatchRow, VersionRow


def page(session: Session, model: str, number: int, after: int, limit: int) -> list[VersionRow]:
    """At most `limit` + 1 versions of the lineage of `number` above `after`, without the base, oldest first.

    Raises NotFoundError.
    """
    lineage.get(session, model, number)
    line = lineage.line_of(model, number)
    query = select(VersionRow).join(line, VersionRow.number == line.c.number)
    query = query.where(VersionRow.model == model, VersionRow.number > after)
    return list(session.scalars(query.order_by(VersionRow.number).limit(limit + 1)))


def newest_metrics(session: Session, model: str, number: int, count: int) -> list[dict[str, Any]]:
    """The measurements of `number` and the versions before it, `count` at most, newest first; {} for the base."""
    line = _newest_of(model, number, count)
    query = select(VersionRow.metrics).join(line, VersionRow.number == line.c.number)
    query = query.where(VersionRow.model == model).order_by(VersionRow.number.desc())
    return [metrics or {} for metrics in session.scalars(query)]


def kinds(session: Session, rows: Sequence[VersionRow]) -> dict[int, str]:
    """Number → the kind of the batch that made it."""
    found: dict[str, str] = {}
    for ids in chunks([row.batch_id for row in rows if row.batch_id is not None]):
        query = select(BatchRow.id, BatchRow.kind).where(BatchRow.id.in_(ids))
        for batch_id, kind in session.execute(query):
            found[batch_id] = kind
    return {row.number: found[row.batch_id] for row in rows if row.batch_id is not None}


def _newest_of(model: str, number: int, most: int) -> CTE:
    """The numbers of version `number` and of its ancestors, `most` at most: nothing beyond them is read."""
    versions = select(VersionRow.number, VersionRow.parent, literal(1).label("depth")).where(VersionRow.model == model)
    line = versions.where(VersionRow.number == number).cte("newest", recursive=True)
    up = select(VersionRow.number, VersionRow.parent, line.c.depth + 1)
    return line.union_all(up.where(VersionRow.model == model, VersionRow.number == line.c.parent, line.c.depth < most))
