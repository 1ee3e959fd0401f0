"""Rows of webhooks as clients see them; a secret is in none of them."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api_schemas.webhooks import Webhook, WebhookDelivery
from store.schema.webhook_tables import WebhookDeliveryRow, WebhookMessageRow, WebhookRow
from store.webhooks import outbox
from store.webhooks.deliveries import state_of


def webhook(session: Session, row: WebhookRow) -> Webhook:
    return Webhook.model_validate(
        {
            "id": row.id,
            "url": row.url,
            "events": row.events,
            "model": row.model,
            "description": row.description,
            "state": state_of(row.paused, row.failures),
            "pause_reason": row.pause_reason,
            "failures": row.failures,
            "failing_since": row.failing_since,
            "last_error": row.last_error,
            "last_success_at": row.last_success_at,
            "waiting": outbox.waiting(session, row.id),
            "created_at": row.created_at,
            "created_by": row.created_by,
        }
    )


def delivery(row: WebhookDeliveryRow, message: WebhookMessageRow) -> WebhookDelivery:
    return WebhookDelivery.model_validate(
        {
            "message": message.id,
            "type": message.type,
            "model": message.model,
            "state": row.state,
            "attempts": row.attempts,
            "status": row.status,
            "error": row.error,
            "data": message.data,
            "created_at": row.created_at,
            "next_attempt_at": row.next_attempt_at if row.state == "pending" else None,
            "ended_at": row.ended_at,
        }
    )
