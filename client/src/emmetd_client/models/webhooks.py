"""Webhooks: who is told of what happens, and what became of each delivery."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emmetd_client.models.answers import Answer


class Webhook(Answer):
    """A receiver. `state` is active, failing or paused; `waiting` counts what is still to be delivered.

    `secret` is told when it is made, and never again.
    """

    id: str
    url: str
    events: list[str] = []
    model: str | None = None
    description: str | None = None
    state: str = "active"
    pause_reason: str | None = None
    failures: int = 0
    failing_since: datetime | None = None
    last_error: str | None = None
    last_success_at: datetime | None = None
    waiting: int = 0
    created_at: datetime | None = None
    created_by: str | None = None
    secret: str | None = None


class WebhookDelivery(Answer):
    """One event for one receiver. `message` is the header `webhook-id`, the same at every attempt."""

    message: str
    type: str
    model: str | None = None
    state: str
    attempts: int = 0
    status: int | None = None
    error: str | None = None
    data: dict[str, Any] = {}
    created_at: datetime | None = None
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
