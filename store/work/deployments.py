"""Queries on deployments: what engines elsewhere shall serve, who works on which, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from api_schemas.references import version_name
from store.clock import new_id, now
from store.errors import DeploymentExistsError, DeploymentLimitError, DeploymentNotFoundError, LeaseLostError
from store.schema.deployment_tables import DeploymentEventRow, DeploymentRow
from store.schema.tables import AliasRow

MOST_DEPLOYMENTS: Final = 100
"""Of a store: each is looked at every second."""
EVENTS_KEPT: Final = 1000
"""Of a deployment; older ones go."""
CLAIM_SECONDS: Final = 30
"""For so long a process that died keeps others from what it worked on; a living one claims it anew before."""

_MEANT: Final = case((DeploymentRow.alias.is_(None), DeploymentRow.version), else_=AliasRow.version)


@dataclass(frozen=True)
class NewDeployment:
    model: str
    alias: str | None
    version: int | None
    target: str
    name: str
    format: str
    folder: str | None
    key: str | None
    caller: str


def create(session: Session, new: NewDeployment) -> DeploymentRow:
    """Raises DeploymentExistsError where the target has one of that name, DeploymentLimitError."""
    standing = session.scalar(
        select(DeploymentRow.id).where(DeploymentRow.target == new.target, DeploymentRow.name == new.name)
    )
    if standing is not None:
        raise DeploymentExistsError(
            f"{new.target} is served {new.name!r} by deployment {standing} already; delete that first, or give the new "
            "one another name"
        )
    number = session.scalar(select(func.max(DeploymentRow.seq))) or 0
    if (session.scalar(select(func.count(DeploymentRow.id))) or 0) >= MOST_DEPLOYMENTS:
        raise DeploymentLimitError(f"there are {MOST_DEPLOYMENTS} deployments, as many as there may be; delete one")
    moment = now()
    row = DeploymentRow(
        id=new_id("dep"),
        seq=number + 1,
        model=new.model,
        alias=new.alias,
        version=new.version,
        target=new.target,
        name=new.name,
        format=new.format,
        folder=new.folder,
        key=new.key,
        caller=new.caller,
        state="pending",
        next_try_at=moment,
        created_at=moment,
        updated_at=moment,
    )
    session.add(row)
    session.flush()
    record_event(session, row, None, None)
    return row


def get(session: Session, deployment_id: str) -> DeploymentRow:
    """Raises DeploymentNotFoundError."""
    row = session.get(DeploymentRow, deployment_id)
    if row is None:
        raise DeploymentNotFoundError(f"no deployment {deployment_id!r}; GET /v1/deployments lists them")
    return row


def page(
    session: Session, model: str | None, before: int | None, limit: int, models: Collection[str] | None
) -> list[DeploymentRow]:
    """Newest first, one more than `limit` where there are more; `models` None is of all."""
    query = select(DeploymentRow).order_by(DeploymentRow.seq.desc()).limit(limit + 1)
    if model is not None:
        query = query.where(DeploymentRow.model == model)
    if models is not None:
        query = query.where(DeploymentRow.model.in_(models))
    if before is not None:
        query = query.where(DeploymentRow.seq < before)
    return list(session.scalars(query))


def all_deployments(session: Session) -> list[DeploymentRow]:
    return list(session.scalars(select(DeploymentRow).order_by(DeploymentRow.seq)))


def remove(session: Session, row: DeploymentRow) -> None:
    session.execute(delete(DeploymentEventRow).where(DeploymentEventRow.deployment_id == row.id))
    session.delete(row)
    session.flush()


def due(session: Session) -> list[str]:
    """Ids of those that nobody works on and whose time has come, or whose alias has moved."""
    moment = now()
    free = or_(DeploymentRow.claimed_until.is_(None), DeploymentRow.claimed_until < moment)
    moved = _MEANT.is_distinct_from(DeploymentRow.desired)
    of = and_(AliasRow.model == DeploymentRow.model, AliasRow.alias == DeploymentRow.alias)
    query = select(DeploymentRow.id).outerjoin(AliasRow, of)
    query = query.where(free, or_(DeploymentRow.next_try_at <= moment, moved))
    return list(session.scalars(query.order_by(DeploymentRow.next_try_at)))


def claim(session: Session, deployment_id: str, claim_id: str) -> DeploymentRow | None:
    """The row, for whoever has `claim_id` alone; None where another has it, or it is gone."""
    row = session.get(DeploymentRow, deployment_id)
    moment = now()
    if row is None or (row.claimed_until is not None and row.claimed_until >= moment):
        return None
    row.claim, row.claimed_until = claim_id, moment + timedelta(seconds=CLAIM_SECONDS)
    return row


def keep_claim(session: Session, deployment_id: str, claim_id: str) -> None:
    """Raises LeaseLostError where another works on it now, or it is gone."""
    until = now() + timedelta(seconds=CLAIM_SECONDS)
    held = (DeploymentRow.id == deployment_id) & (DeploymentRow.claim == claim_id)
    found: Any = session.execute(update(DeploymentRow).where(held).values(claimed_until=until))
    if found.rowcount == 0:
        raise LeaseLostError(f"deployment {deployment_id} was removed, or another process works on it")


def held(session: Session, deployment_id: str, claim_id: str) -> DeploymentRow:
    """The row, to be changed. Raises LeaseLostError."""
    row = session.get(DeploymentRow, deployment_id)
    if row is None or row.claim != claim_id:
        raise LeaseLostError(f"deployment {deployment_id} was removed, or another process works on it")
    return row


def meant(session: Session, row: DeploymentRow) -> int | None:
    """The version that it shall serve now; None where its alias is gone."""
    if row.alias is None:
        return row.version
    return session.scalar(select(AliasRow.version).where(AliasRow.model == row.model, AliasRow.alias == row.alias))


def release(row: DeploymentRow, again_in: float) -> None:
    """Nobody works on it now; it is due again after so many seconds, or when its alias moves."""
    row.claim = row.claimed_until = None
    row.next_try_at = now() + timedelta(seconds=again_in)


def enter(
    session: Session,
    row: DeploymentRow,
    state: str,
    *,
    version: int | None,
    error: Mapping[str, Any] | None = None,
    check: Mapping[str, Any] | None = None,
) -> None:
    """Write down a state, and an event where it, or what it is about, is another than before."""
    told = None if error is None else dict(error)
    is_news = row.state != state or check is not None or (told or {}).get("code") != (row.error or {}).get("code")
    row.state, row.error, row.updated_at = state, told, now()
    if check is not None:
        row.last_check = dict(check)
    if is_news:
        record_event(session, row, version, check)


def record_event(session: Session, row: DeploymentRow, version: int | None, check: Mapping[str, Any] | None) -> None:
    """An event of the state that `row` has; the oldest go where there are too many."""
    detail = None if row.error is None else str(row.error["detail"])
    event = DeploymentEventRow(
        deployment_id=row.id,
        at=now(),
        state=row.state,
        version=version,
        detail=detail,
        check=None if check is None else dict(check),
    )
    session.add(event)
    session.flush()
    of = DeploymentEventRow.deployment_id == row.id
    newest = select(DeploymentEventRow.id).where(of).order_by(DeploymentEventRow.id.desc())
    last_kept = session.scalar(newest.offset(EVENTS_KEPT - 1).limit(1))
    if last_kept is not None:
        session.execute(delete(DeploymentEventRow).where(of, DeploymentEventRow.id < last_kept))


def events(session: Session, deployment_id: str, before: int | None, limit: int) -> list[DeploymentEventRow]:
    """Newest first, one more than `limit` where there are more."""
    query = select(DeploymentEventRow).where(DeploymentEventRow.deployment_id == deployment_id)
    if before is not None:
        query = query.where(DeploymentEventRow.id < before)
    return list(session.scalars(query.order_by(DeploymentEventRow.id.desc()).limit(limit + 1)))


def followed(row: DeploymentRow) -> str:
    """NAME@alias, or NAME@vN of one that stays."""
    return f"{row.model}@{row.alias or version_name(row.version or 0)}"


def lag_seconds(row: DeploymentRow, moment: datetime) -> float:
    """For how long the target has not served what it shall; 0 where it does."""
    if row.behind_since is None:
        return 0.0
    return max(0.0, (moment - row.behind_since).total_seconds())
