"""`/v1/webhooks`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.webhooks import (
    DeliveryState,
    Webhook,
    WebhookDelivery,
    WebhookDeliveryPage,
    WebhookPage,
    WebhookRequest,
    WebhookUpdate,
    WebhookWithSecret,
)
from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.cursors import Cursor, Limit
from service.http.problems import responses
from service.resources import ResourcesDependency
from service.webhooks import service
from store.errors import CursorError, ModelNotFoundError, WebhookLimitError, WebhookNotFoundError

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

WebhookId = Annotated[str, Path(max_length=60, examples=["wh_01kah3v0d5m8"])]
_BODY_REFUSED = (MalformedJSONError, TooLargeError, UnsupportedMediaTypeError, InvalidFieldsError)


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "",
    status_code=201,
    summary="Register a receiver",
    openapi_extra=_body("WebhookRequest", {"url": "https://example.org/emmetd", "events": ["version.published"]}),
    responses={
        201: {
            "description": "Registered; the secret is told this once.",
            "headers": {"Location": {"description": "The webhook.", "schema": {"type": "string"}}},
        },
        **responses(ModelNotFoundError, WebhookLimitError, *_BODY_REFUSED),
    },
)
async def create_webhook(request: Request, response: Response, resources: ResourcesDependency) -> WebhookWithSecret:
    """From now on it is told what happens, by signed POSTs as Standard Webhooks has them (standardwebhooks.com).

    Its address must be public, or in a network that the operator has allowed; that is looked at again at each delivery.
    """
    media_type(request, JSON_TYPE)
    wanted = await run_in_threadpool(read_model, await request.body(), WebhookRequest)
    made = await run_in_threadpool(service.create, resources, wanted)
    response.headers["Location"] = f"/v1/webhooks/{made.id}"
    return made


@router.get("", summary="List receivers", responses=responses(CursorError, InvalidFieldsError))
def list_webhooks(resources: ResourcesDependency, cursor: Cursor = None, limit: Limit = 100) -> WebhookPage:
    """Oldest first; to a key for some models those of its models."""
    return service.page(resources, cursor, limit)


@router.get("/{webhook_id}", summary="Show a receiver", responses=responses(WebhookNotFoundError))
def get_webhook(resources: ResourcesDependency, webhook_id: WebhookId) -> Webhook:
    return service.get(resources, webhook_id)


@router.patch(
    "/{webhook_id}",
    summary="Change, pause or resume a receiver",
    openapi_extra=_body("WebhookUpdate", {"paused": False}),
    responses=responses(WebhookNotFoundError, *_BODY_REFUSED),
)
async def patch_webhook(request: Request, resources: ResourcesDependency, webhook_id: WebhookId) -> Webhook:
    """What is left out stays as it is. Resumed, it is told of all that has waited, in order."""
    media_type(request, JSON_TYPE)
    update = await run_in_threadpool(read_model, await request.body(), WebhookUpdate)
    return await run_in_threadpool(service.change, resources, webhook_id, update)


@router.delete("/{webhook_id}", status_code=204, summary="Delete a receiver", responses=responses(WebhookNotFoundError))
def delete_webhook(resources: ResourcesDependency, webhook_id: WebhookId) -> None:
    """With its log; what has waited for it is not sent."""
    service.remove(resources, webhook_id)


@router.post("/{webhook_id}/rotate", summary="Give a receiver a new secret", responses=responses(WebhookNotFoundError))
def rotate_secret(resources: ResourcesDependency, webhook_id: WebhookId) -> WebhookWithSecret:
    """The new secret is told this once. For 24 hours the one before it signs too, while the receiver changes over."""
    return service.rotate(resources, webhook_id)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    summary="Send a receiver a test",
    responses=responses(WebhookNotFoundError),
)
def test_webhook(resources: ResourcesDependency, webhook_id: WebhookId) -> WebhookDelivery:
    """A message of type `webhook.test`, at once and once, also to one that is paused. Its log tells what came of it."""
    return service.test(resources, webhook_id)


@router.get(
    "/{webhook_id}/deliveries",
    summary="List what a receiver was told, newest first",
    responses=responses(WebhookNotFoundError, CursorError, InvalidFieldsError),
)
def list_deliveries(
    resources: ResourcesDependency,
    webhook_id: WebhookId,
    state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> WebhookDeliveryPage:
    """How often it was tried, and what the last attempt came to. Entries go after `EMMETD_WEBHOOK_LOG_DAYS`."""
    return service.log(resources, webhook_id, state, cursor, limit)
