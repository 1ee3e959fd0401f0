"""The outbox: what happened is written in the transaction in which it happens, a row for each receiver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from api_schemas.webhooks import TEST_EVENT, EventType
from store.clock import new_id, now
from store.schema.webhook_tables import WebhookDeliveryRow, WebhookMessageRow, WebhookRow

MOST_WAITING: Final = 10_000
"""Deliveries that are kept for a receiver that is away; what comes then is told of in its log, and not sent."""


def record(session: Session, kind: EventType, model: str, data: Mapping[str, Any]) -> None:
    """Write down for each receiver that wants to know that `kind` happened to `model`. Commits with the event itself.

    `data` holds ids, names and counts: no facts, and no message of an error, which may quote one.
    """
    wanting = select(WebhookRow).where(or_(WebhookRow.model.is_(None), WebhookRow.model == model))
    receivers = [row for row in session.scalars(wanting.order_by(WebhookRow.seq)) if kind in row.events]
    if receivers:
        message = _message(session, kind, model, data)
        for row in receivers:
            full = (row.paused or row.failures > 0) and waiting(session, row.id) >= MOST_WAITING
            _deliver(session, row, message, model, "dropped" if full else "pending")
        session.flush()


def record_test(session: Session, row: WebhookRow) -> WebhookDeliveryRow:
    """A message for `row` alone, in a lane of its own: it waits for nothing, and is tried once."""
    message = _message(session, TEST_EVENT, row.model, {"webhook": row.id})
    delivery = _deliver(session, row, message, "", "pending")
    session.flush()
    return delivery


def waiting(session: Session, webhook_id: str) -> int:
    query = select(func.count()).select_from(WebhookDeliveryRow)
    found = session.scalar(
        query.where(WebhookDeliveryRow.webhook_id == webhook_id, WebhookDeliveryRow.state == "pending")
    )
    return found or 0


def _message(session: Session, kind: str, model: str | None, data: Mapping[str, Any]) -> WebhookMessageRow:
    message = WebhookMessageRow(id=new_id("msg"), type=kind, model=model, data=dict(data), created_at=now())
    session.add(message)
    session.flush()
    return message


def _deliver(
    session: Session, row: WebhookRow, message: WebhookMessageRow, lane: str, state: str
) -> WebhookDeliveryRow:
    moment = now()
    delivery = WebhookDeliveryRow(
        webhook_id=row.id,
        message_id=message.id,
        type=message.type,
        lane=lane,
        state=state,
        next_attempt_at=moment,
        created_at=moment,
        ended_at=None if state == "pending" else moment,
        error=None if state == "pending" else f"more than {MOST_WAITING} deliveries waited already",
    )
    session.add(delivery)
    return delivery
