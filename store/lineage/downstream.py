"""What other programs measured of versions: kept beside them, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, func, literal, select
from sqlalchemy.orm import Session

from store.clock import new_id, now
from store.lineage import versions as lineage
from store.schema.measurement_tables import DownstreamRow


def add(
    session: Session,
    model: str,
    version: int,
    *,
    harness: Mapping[str, Any],
    settings: Mapping[str, Any],
    results: Mapping[str, Any],
    caller: str = "",
) -> DownstreamRow:
    """Raises VersionNotFoundError."""
    lineage.get(session, model, version)
    row = DownstreamRow(
        id=new_id("down"),
        seq=(session.scalar(select(func.max(DownstreamRow.seq))) or 0) + 1,
        model=model,
        version=version,
        harness=dict(harness),
        settings=dict(settings),
        results=dict(results),
        caller=caller,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    return row


def page(session: Session, model: str, version: int, before_seq: int | None, limit: int) -> list[DownstreamRow]:
    """Newest first; one more than `limit` if there are others."""
    query = select(DownstreamRow).where(DownstreamRow.model == model, DownstreamRow.version == version)
    if before_seq is not None:
        query = query.where(DownstreamRow.seq < literal(before_seq, BigInteger))
    return list(session.scalars(query.order_by(DownstreamRow.seq.desc()).limit(limit + 1)))


def newest(session: Session, model: str, version: int, task: str) -> DownstreamRow | None:
    """The newest results of the version that `task` is among."""
    query = select(DownstreamRow).where(DownstreamRow.model == model, DownstreamRow.version == version)
    return next((row for row in session.scalars(query.order_by(DownstreamRow.seq.desc())) if task in row.results), None)
