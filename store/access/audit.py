"""The audit log: every change with who made it and from where, in the transaction that made it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from store.clock import now
from store.schema.access_tables import AuditRow

LOCAL: Final = "local"
BOOTSTRAP: Final = "bootstrap"
PRUNED_AT_ONCE: Final = 5000
_ACCEPTED: Final = ("edit.accepted", "revert.accepted", "consolidation.accepted")
"""How batches of each kind come to be: `KIND.accepted`."""


@dataclass(frozen=True)
class Actor:
    """Who makes a change: a key's id, BOOTSTRAP, LOCAL, `cli:NAME`, `worker:ID` or `deployments`.

    `address` is where it came from.
    """

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


def sender(session: Session, model: str, target: str, actor: str) -> Actor:
    """Whoever brought `target`, an edit that `actor` sent, as the entry of its acceptance has them.

    Without a label and an address where that entry has been pruned since: they are kept for as long as the log is.
    """
    accepted = select(AuditRow).where(
        AuditRow.model == model, AuditRow.target == target, AuditRow.action.in_(_ACCEPTED)
    )
    row = session.scalar(accepted.order_by(AuditRow.id.desc()).limit(1))
    return Actor(actor) if row is None else Actor(row.actor, row.label, row.address)


def entries_before(session: Session, moment: datetime) -> int:
    """How many entries are older than `moment`."""
    return session.scalar(select(func.count()).select_from(AuditRow).where(AuditRow.at < moment)) or 0


def prune(session: Session, actor: Actor, moment: datetime) -> int:
    """Delete the oldest entries from before `moment`, so many that other writers get their turn; returns how many.

    That they went is an entry of its own.
    """
    old = select(AuditRow.id).where(AuditRow.at < moment).order_by(AuditRow.id).limit(PRUNED_AT_ONCE)
    gone = list(session.scalars(old))
    if gone:
        session.execute(delete(AuditRow).where(AuditRow.id.in_(gone)))
        record(session, actor, "audit.pruned", entries=len(gone), before=moment.isoformat(timespec="seconds"))
    return len(gone)


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
