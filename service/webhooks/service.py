"""Receivers within what their caller may see: a key for some models has webhooks of those alone."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api_schemas.webhooks import (
    Webhook,
    WebhookDelivery,
    WebhookDeliveryPage,
    WebhookPage,
    WebhookRequest,
    WebhookUpdate,
    WebhookWithSecret,
)
from service.delivery.addresses import AddressGuard, AddressRefusedError
from service.errors import ModelNotGrantedError
from service.http.cursors import read_cursor, write_cursor
from service.http.fields import invalid
from service.models.references import model_named
from service.resources import Resources
from service.webhooks import views
from store.schema.webhook_tables import WebhookMessageRow, WebhookRow
from store.webhooks import deliveries, outbox, registrations


def create(resources: Resources, request: WebhookRequest) -> WebhookWithSecret:
    _check_grant(resources, request.model, "a webhook of every model")
    _check_url(resources, request.url)
    with resources.database.writing() as session:
        if request.model is not None:
            model_named(session, request.model)
        row = registrations.create(session, resources.caller.actor, **request.model_dump())
        return _with_secret(session, row)


def page(resources: Resources, cursor: str | None, limit: int) -> WebhookPage:
    """Oldest first."""
    after = read_cursor("webhooks", cursor)
    with resources.database.reading() as session:
        rows = registrations.page(session, after, limit, resources.caller.models)
        more = write_cursor("webhooks", rows[limit - 1].seq) if len(rows) > limit else None
        return WebhookPage(data=[views.webhook(session, row) for row in rows[:limit]], next_cursor=more)


def get(resources: Resources, webhook_id: str) -> Webhook:
    with resources.database.reading() as session:
        return views.webhook(session, _owned(resources, session, webhook_id))


def change(resources: Resources, webhook_id: str, update: WebhookUpdate) -> Webhook:
    if update.url is not None:
        with resources.database.reading() as session:  # whoever may not touch it learns nothing of addresses
            _owned(resources, session, webhook_id)
        _check_url(resources, update.url)
    with resources.database.writing() as session:
        row = _owned(resources, session, webhook_id)
        registrations.change(session, resources.caller.actor, row, update.model_dump(exclude_unset=True))
        session.flush()
        told = views.webhook(session, row)
    resources.sender.wake()
    return told


def rotate(resources: Resources, webhook_id: str) -> WebhookWithSecret:
    with resources.database.writing() as session:
        row = _owned(resources, session, webhook_id)
        registrations.rotate(session, resources.caller.actor, row)
        return _with_secret(session, row)


def remove(resources: Resources, webhook_id: str) -> None:
    with resources.database.writing() as session:
        registrations.remove(session, resources.caller.actor, _owned(resources, session, webhook_id))


def test(resources: Resources, webhook_id: str) -> WebhookDelivery:
    """Also of one that is paused: whether it may go on is what one wants to know."""
    with resources.database.writing() as session:
        row = outbox.record_test(session, _owned(resources, session, webhook_id))
        told = views.delivery(row, session.get_one(WebhookMessageRow, row.message_id))
    resources.sender.wake()
    return told


def log(
    resources: Resources, webhook_id: str, state: str | None, cursor: str | None, limit: int
) -> WebhookDeliveryPage:
    """Newest first."""
    before = read_cursor("deliveries", cursor)
    with resources.database.reading() as session:
        _owned(resources, session, webhook_id)
        found = deliveries.page(session, webhook_id, before, limit, state)
    more = write_cursor("deliveries", found[limit - 1][0].seq) if len(found) > limit else None
    return WebhookDeliveryPage(data=[views.delivery(*one) for one in found[:limit]], next_cursor=more)


def _owned(resources: Resources, session: Session, webhook_id: str) -> WebhookRow:
    """Raises WebhookNotFoundError, ModelNotGrantedError."""
    row = registrations.get(session, webhook_id)
    _check_grant(resources, row.model, f"webhook {row.id}")
    return row


def _check_grant(resources: Resources, model: str | None, what: str) -> None:
    if model is not None:
        resources.caller.check_owner(model, what)
    elif resources.caller.models is not None:
        granted = ", ".join(sorted(resources.caller.models)) or "none"
        raise ModelNotGrantedError(f"{what} tells of models that this API key is not for; it is for {granted}")


def _check_url(resources: Resources, url: str) -> None:
    """Before any transaction: the name service may take its time. Raises InvalidFieldsError."""
    try:
        AddressGuard(resources.settings.allowed_webhook_networks).check(url)
    except AddressRefusedError as error:
        raise invalid("url", str(error)) from None


def _with_secret(session: Session, row: WebhookRow) -> WebhookWithSecret:
    return WebhookWithSecret(**views.webhook(session, row).model_dump(), secret=row.secret)
