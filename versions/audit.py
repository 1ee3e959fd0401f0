"""The audit log: every change with who made it and from where, in the transaction that made it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from versions.access_tables import AuditRow
from versions.clock import now

LOCAL: Final = "local"
BOOTSTRAP: Final = "bootstrap"


@dataclass(frozen=True)
class Actor:
    """Who makes a change: a key's id, BOOTSTRAP, LOCAL, `cli:NAME` or `worker:ID`; `address` is where it came from."""

    id: str
    label: str | None = None
    address: str | None = None


def record(
    session: Session,
    actor: Actor,
    action: str,
    *,
    model: str | None = None,
    target: str | None = None,
    **details: Any,
) -> None:
    """Write a change down: `action` is a thing and what became of it, "alias.moved". Commits with the change itself."""
    session.add(
        AuditRow(
            at=now(),
            actor=actor.id,
            label=actor.label,
            address=actor.address,
            action=action,
            model=model,
            target=target,
            details=details,
        )
    )


def page(
    session: Session,
    before: int | None,
    limit: int,
    *,
    models: Collection[str] | None = None,
    actor: str | None = None,
    action: str | None = None,
) -> list[AuditRow]:
    """Newest first, those of `models` alone where they are named; one more than `limit` says that there are others."""
    query = select(AuditRow)
    if models is not None:
        query = query.where(AuditRow.model.in_(models))
    if actor is not None:
        query = query.where(AuditRow.actor == actor)
    if action is not None:
        query = query.where(AuditRow.action == action)
    if before is not None:
        query = query.where(AuditRow.id < before)
    return list(session.scalars(query.order_by(AuditRow.id.desc()).limit(limit + 1)))
