"""Queries on receivers: who is told, of what, and whether they are being reached."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from store.access import audit
from store.access.audit import Actor
from store.clock import new_id, now
from store.errors import WebhookLimitError, WebhookNotFoundError
from store.schema.webhook_tables import WebhookDeliveryRow, WebhookRow

MOST_WEBHOOKS: Final = 100
OVERLAP: Final = timedelta(hours=24)
"""For so long after a rotation the secret before it signs too."""
_SECRET_BYTES: Final = 32


def create(
    session: Session, actor: Actor, *, url: str, events: list[str], model: str | None, description: str | None
) -> WebhookRow:
    """Raises WebhookLimitError. There is a `model` of that name."""
    if (session.scalar(select(func.count()).select_from(WebhookRow)) or 0) >= MOST_WEBHOOKS:
        raise WebhookLimitError(f"there are {MOST_WEBHOOKS} webhooks, as many as there may be; delete one")
    row = WebhookRow(
        id=new_id("wh"),
        seq=(session.scalar(select(func.max(WebhookRow.seq))) or 0) + 1,
        url=url,
        events=sorted(set(events)),
        model=model,
        description=description,
        secret=new_secret(),
        created_at=now(),
        created_by=actor.id,
    )
    session.add(row)
    session.flush()
    _record(session, actor, "webhook.created", row, events=row.events)
    return row


def get(session: Session, webhook_id: str) -> WebhookRow:
    row = session.get(WebhookRow, webhook_id)
    if row is None:
        raise WebhookNotFoundError(f"no webhook {webhook_id[:60]!r}; GET /v1/webhooks lists them")
    return row


def page(session: Session, after: int | None, limit: int, models: Collection[str] | None) -> list[WebhookRow]:
    """Oldest first, those of `models` alone where they are named; one more than `limit` if there are others."""
    query = select(WebhookRow).where(WebhookRow.seq > (after or 0))
    if models is not None:
        query = query.where(WebhookRow.model.in_(models))
    return list(session.scalars(query.order_by(WebhookRow.seq).limit(limit + 1)))


def change(session: Session, actor: Actor, row: WebhookRow, changes: Mapping[str, Any]) -> None:
    """Set those of url, events, description and paused that `changes` names. What has waited is sent at once then."""
    for field in ("url", "events", "paused"):
        if changes.get(field) is not None:
            setattr(row, field, sorted(set(changes[field])) if field == "events" else changes[field])
    if "description" in changes:
        row.description = changes["description"]
    if changes.get("paused") is True:
        row.pause_reason = "paused on request"
    elif changes.get("paused") is False or changes.get("url") is not None:
        _start_anew(session, row)
    _record(session, actor, "webhook.changed", row, events=row.events, paused=row.paused)


def _start_anew(session: Session, row: WebhookRow) -> None:
    """As if nothing had failed yet: there is another receiver, or it was repaired."""
    row.failures, row.failing_since, row.last_error = 0, None, None
    if not row.paused:
        row.pause_reason = None
    pending = update(WebhookDeliveryRow).where(
        WebhookDeliveryRow.webhook_id == row.id, WebhookDeliveryRow.state == "pending"
    )
    session.execute(pending.values(next_attempt_at=now(), first_attempt_at=None))


def rotate(session: Session, actor: Actor, row: WebhookRow) -> None:
    """A new secret; the one before it signs too for a while, so that the receiver can change over."""
    row.previous_secret, row.previous_until = row.secret, now() + OVERLAP
    row.secret = new_secret()
    _record(session, actor, "webhook.secret_rotated", row)


def remove(session: Session, actor: Actor, row: WebhookRow) -> None:
    """With its log; messages that nobody waits for any more go with their age."""
    session.execute(delete(WebhookDeliveryRow).where(WebhookDeliveryRow.webhook_id == row.id))
    _record(session, actor, "webhook.deleted", row)
    session.delete(row)


def pause(session: Session, row: WebhookRow, reason: str) -> None:
    """By whoever sends: the receiver was away for too long, or wants no more."""
    row.paused, row.pause_reason = True, reason
    _record(session, Actor("webhooks"), "webhook.paused", row, reason=reason)


def new_secret() -> str:
    """As Standard Webhooks writes it: 32 random bytes in base64 behind `whsec_`."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def signing_secrets(row: WebhookRow, moment: datetime) -> list[str]:
    """Newest first."""
    if row.previous_secret is None or row.previous_until is None or row.previous_until <= moment:
        return [row.secret]
    return [row.secret, row.previous_secret]


def _record(session: Session, actor: Actor, action: str, row: WebhookRow, **details: Any) -> None:
    """Of an address its host alone: paths and queries often hold what opens the receiver."""
    host = urlsplit(row.url).hostname
    audit.record(session, actor, action, model=row.model, target=row.id, host=host, **details)
