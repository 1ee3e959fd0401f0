"""Changes of aliases that demand approval: asked for by one key, decided by another, carried out only by its decision.

open → approved, refused, withdrawn (by who asked), expired, or stale, where the alias was moved meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api_schemas.references import version_name
from store.access import audit
from store.access.audit import Actor
from store.clock import new_id, now
from store.errors import AliasRequestClosedError, AliasRequestLimitError, AliasRequestNotFoundError, SameKeyError
from store.schema.alias_tables import AliasRequestRow
from store.schema.tables import AliasRow

LIFETIME: Final = timedelta(days=7)
MOST_OPEN: Final = 20
"""Of an alias: whoever may ask cannot fill a list that others must read."""


@dataclass(frozen=True)
class Change:
    """What is asked for; None leaves as it is."""

    version: int | None = None
    protected: bool | None = None
    approval: bool | None = None

    def differs(self, row: AliasRow) -> bool:
        """Whether anything of the alias would be another."""
        wanted = (self.version, self.protected, self.approval)
        return any(
            new not in (None, old) for new, old in zip(wanted, (row.version, row.protected, row.approval), strict=True)
        )


def ask(
    session: Session,
    actor: Actor,
    alias: AliasRow,
    change: Change,
    *,
    edit: str | None = None,
    reason: str | None = None,
) -> AliasRequestRow:
    """Keep a request; the same one where `actor` asks for the same again. Raises AliasRequestLimitError.

    What publishing asks for (`edit`) is kept whatever the number: its batch has been accepted within the limit.
    """
    waiting = open_of(session, alias)
    for row in waiting:
        asked = Change(row.version, row.protected, row.approval)
        if edit is None and row.requested_by == actor.id and (asked, row.expected) == (change, alias.version):
            return row
    if edit is None:
        check_room(alias, len(waiting))
    row = AliasRequestRow(
        id=new_id("move"),
        seq=(session.scalar(select(func.max(AliasRequestRow.seq))) or 0) + 1,
        model=alias.model,
        alias=alias.alias,
        expected=alias.version,
        version=change.version,
        protected=change.protected,
        approval=change.approval,
        edit=edit,
        reason=reason,
        state="open",
        requested_by=actor.id,
        requested_label=actor.label,
        created_at=now(),
        expires_at=now() + LIFETIME,
    )
    session.add(row)
    session.flush()
    _record(session, actor, "alias.requested", row)
    return row


def check_room(alias: AliasRow, waiting: int) -> None:
    """Raises AliasRequestLimitError."""
    if waiting >= MOST_OPEN:
        raise AliasRequestLimitError(
            f"{waiting} requests wait for alias {alias.alias!r}, as many as may; have some approved or refused first"
        )


def get(session: Session, model: str, request_id: str) -> AliasRequestRow:
    row = session.get(AliasRequestRow, request_id)
    if row is None or row.model != model:
        raise AliasRequestNotFoundError(
            f"no request {request_id[:60]!r} of {model}; GET /v1/models/{model}/alias-requests lists them"
        )
    return row


def page(
    session: Session, model: str, before: int | None, limit: int, *, alias: str | None, state: str | None
) -> list[AliasRequestRow]:
    """Newest first; one more than `limit` if there are others. One whose time is over is `expired`."""
    query = select(AliasRequestRow).where(AliasRequestRow.model == model)
    if alias is not None:
        query = query.where(AliasRequestRow.alias == alias)
    if state in ("open", "expired"):
        over = AliasRequestRow.expires_at <= now()
        marked = AliasRequestRow.state == state
        late = (AliasRequestRow.state == "open") & over
        query = query.where(marked & ~over if state == "open" else marked | late)
    elif state is not None:
        query = query.where(AliasRequestRow.state == state)
    if before is not None:
        query = query.where(AliasRequestRow.seq < before)
    return list(session.scalars(query.order_by(AliasRequestRow.seq.desc()).limit(limit + 1)))


def open_of(session: Session, alias: AliasRow) -> list[AliasRequestRow]:
    """Those that wait for a decision, oldest first."""
    query = select(AliasRequestRow).where(
        AliasRequestRow.model == alias.model,
        AliasRequestRow.alias == alias.alias,
        AliasRequestRow.state == "open",
        AliasRequestRow.expires_at > now(),
    )
    return list(session.scalars(query.order_by(AliasRequestRow.seq)))


def state_of(row: AliasRequestRow, moment: datetime) -> str:
    return "expired" if row.state == "open" and row.expires_at <= moment else row.state


def check_decidable(row: AliasRequestRow, actor: Actor, *, approves: bool) -> None:
    """Raises AliasRequestClosedError, and SameKeyError for an approval by the key that asked."""
    state = state_of(row, now())
    if state != "open":
        raise AliasRequestClosedError(f"request {row.id} is {state}, and nothing comes of it any more; ask anew")
    if approves and row.requested_by == actor.id:
        raise SameKeyError(
            f"request {row.id} was made by this very key ({actor.id}); it takes another key with the scope admin"
        )


def close(session: Session, actor: Actor, row: AliasRequestRow, state: str, decision: str | None) -> None:
    """Write a decision down."""
    row.state, row.decided_at, row.decision = state, now(), decision
    row.decided_by, row.decided_label = actor.id, actor.label
    _record(session, actor, f"alias.{'approved' if state == 'approved' else state}", row, decision=decision)


def close_stale(session: Session, actor: Actor, alias: AliasRow) -> None:
    """Of an alias that was moved: what was asked for while it pointed elsewhere can never be carried out."""
    for row in open_of(session, alias):
        if row.expected != alias.version:
            close(session, actor, row, "stale", None)


def _record(session: Session, actor: Actor, action: str, row: AliasRequestRow, **details: Any) -> None:
    audit.record(
        session,
        actor,
        action,
        model=row.model,
        target=row.alias,
        request=row.id,
        requested_by=row.requested_by,
        version=None if row.version is None else version_name(row.version),
        expected=version_name(row.expected),
        protected=row.protected,
        approval=row.approval,
        edit=row.edit,
        reason=row.reason,
        **details,
    )
