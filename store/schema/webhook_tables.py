"""The tables of webhooks: who is told, of what, and what became of each delivery. Changes come with a migration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import BIG_ID, Base


class WebhookRow(Base):
    """A receiver. `events` are the types that it is told of, of `model` alone where that is not null.

    `previous_secret` signs too until `previous_until`, so that a receiver can change over. `failing_since` is the first
    failure after the last success. A sender holds the webhook until `claimed_until`; `token` grows with every claim.
    """

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(BIG_ID, unique=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    model: Mapped[str | None] = mapped_column(ForeignKey("models.name"))
    description: Mapped[str | None] = mapped_column(String(200))
    secret: Mapped[str] = mapped_column(String(100))
    previous_secret: Mapped[str | None] = mapped_column(String(100))
    previous_until: Mapped[datetime | None]
    paused: Mapped[bool] = mapped_column(default=False)
    pause_reason: Mapped[str | None] = mapped_column(String(200))
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(String(300))
    last_success_at: Mapped[datetime | None]
    token: Mapped[int] = mapped_column(default=0)
    claimed_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))


class WebhookMessageRow(Base):
    """What happened, as receivers are told it: the same id and data for all of them, at every attempt."""

    __tablename__ = "webhook_messages"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    type: Mapped[str] = mapped_column(String(40))
    model: Mapped[str | None] = mapped_column(String(64))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)


class WebhookDeliveryRow(Base):
    """One message for one receiver: outbox row and entry of the log in one. `seq` is the order of what happened.

    pending → delivered, given_up or dropped. `lane` is the model, "" for a test: within it, one goes after the other.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_waiting", "state", "webhook_id", "lane", "seq"),
        Index("ix_webhook_deliveries_log", "webhook_id", "seq"),
        Index("ix_webhook_deliveries_message", "message_id"),
    )

    seq: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    message_id: Mapped[str] = mapped_column(ForeignKey("webhook_messages.id"))
    type: Mapped[str] = mapped_column(String(40))
    lane: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    first_attempt_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
