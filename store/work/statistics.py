"""What is a statistic's own: C0 of some layers, made ahead of time, and the blobs that share it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.schema.tables import StatisticRow
from store.work import lifecycle
from store.work.kinds import STATISTIC


def create(
    session: Session,
    *,
    model: str,
    layers: list[int] | None,
    corpus: str,
    tokens: int | None,
    caller: str = "",
    idempotency_key: str | None = None,
    body_sha256: str | None = None,
) -> StatisticRow:
    """A new statistic and its task."""
    return lifecycle.create(
        session,
        STATISTIC,
        1,
        model=model,
        layers=layers,
        corpus=corpus,
        tokens=tokens,
        caller=caller,
        idempotency_key=idempotency_key,
        body_sha256=body_sha256,
    )


def finish(row: StatisticRow, *, report: dict[str, Any]) -> None:
    row.report = report
    lifecycle.succeed(row, 1)


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
