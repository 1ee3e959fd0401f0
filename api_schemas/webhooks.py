"""Webhooks: who is told of what, and what became of each delivery (Standard Webhooks, standardwebhooks.com)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api_schemas.references import ModelName
from api_schemas.texts import Clean

EventType = Literal["edit.finished", "version.published", "alias.moved", "line.worn"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
TEST_EVENT: Final = "webhook.test"
DeliveryState = Literal["pending", "delivered", "given_up", "dropped"]
WebhookState = Literal["active", "failing", "paused"]

Url = Annotated[str, StringConstraints(min_length=1, max_length=2000), Clean()]
Events = Annotated[list[EventType], Field(min_length=1, max_length=len(EVENT_TYPES))]
_Description = Annotated[str, StringConstraints(max_length=200), Clean()]


class WebhookRequest(BaseModel):
    """A receiver. `events` left out are all; `model` left out is every model."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[Url, Field(examples=["https://example.org/emmetd"])]
    events: Events = list(EVENT_TYPES)
    model: Annotated[ModelName | None, Field(examples=["smollm2-135m"])] = None
    description: _Description | None = None


class WebhookUpdate(BaseModel):
    """What is left out stays as it is. `paused: false` sends what has waited, `paused: true` lets all wait."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})

    url: Url | None = None
    events: Events | None = None
    description: _Description | None = None
    paused: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing to change; give url, events, description or paused")
        return self


class Webhook(BaseModel):
    """A receiver as it stands. `failing` since its last success every attempt failed; `paused` nothing is sent.

    `waiting` counts deliveries that are still to be made. The secret is told when it is made, and never again.
    """

    id: str
    url: str
    events: list[EventType]
    model: str | None
    description: str | None
    state: WebhookState
    pause_reason: str | None
    failures: int
    failing_since: datetime | None
    last_error: str | None
    last_success_at: datetime | None
    waiting: int
    created_at: datetime
    created_by: str


class WebhookWithSecret(Webhook):
    """`secret` is told this once: keep it where the receiver checks signatures with it."""

    secret: str


class WebhookPage(BaseModel):
    data: list[Webhook]
    next_cursor: str | None


class WebhookDelivery(BaseModel):
    """One event for one receiver. `message` is the header `webhook-id`, the same at every attempt.

    `dropped`: more waited already than are kept for a receiver that is away. `given_up`: it was refused for too long.
    """

    message: str
    type: str
    model: str | None
    state: DeliveryState
    attempts: int
    status: int | None
    error: str | None
    data: dict[str, Any]
    created_at: datetime
    next_attempt_at: datetime | None
    ended_at: datetime | None


class WebhookDeliveryPage(BaseModel):
    data: list[WebhookDelivery]
    next_cursor: str | None
