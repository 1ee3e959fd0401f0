"""`/v1/keys`."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool

from api_schemas.access import CallerInfo, KeyInfo, KeyPage, KeyRequest, NewKey
from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.cursors import Cursor, Limit
from service.http.problems import responses
from service.keys import service
from service.resources import ResourcesDependency
from store.errors import CursorError, KeyNotFoundError

router = APIRouter(prefix="/v1/keys", tags=["operations"])

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_TYPE: {
                "schema": {"$ref": "#/components/schemas/KeyRequest"},
                "example": {"label": "ada's notebook", "scopes": ["generate", "evaluate"]},
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    summary="Make an API key",
    openapi_extra=_BODY,
    responses={
        201: {"description": "Made. `secret` is the key: it is told this once, and only its hash is kept."},
        **responses(MalformedJSONError, TooLargeError, UnsupportedMediaTypeError, InvalidFieldsError),
    },
)
async def create(request: Request, resources: ResourcesDependency) -> NewKey:
    """No Idempotency-Key is looked at: what could be answered a second time would have to be kept.

    A key whose answer was lost is found in the list, and revoked.
    """
    media_type(request, JSON_TYPE)
    body = await run_in_threadpool(read_model, await request.body(), KeyRequest)
    return await run_in_threadpool(service.create, resources, body)


@router.get(
    "",
    summary="List API keys without their secrets, newest first",
    responses=responses(CursorError, InvalidFieldsError),
)
def list_keys(resources: ResourcesDependency, cursor: Cursor = None, limit: Limit = 100) -> KeyPage:
    """Revoked and expired ones too. `last_used_at` is right to the hour."""
    return service.page(resources, cursor, limit)


@router.get("/own", summary="Show what the caller's own key may do")
def own(resources: ResourcesDependency) -> CallerInfo:
    """Also on a server that asks for no keys, where everybody may do everything."""
    return service.own(resources)


@router.post("/{key_id}/revoke", summary="Revoke an API key, for ever", responses=responses(KeyNotFoundError))
def revoke(
    resources: ResourcesDependency, key_id: Annotated[str, Path(max_length=40, examples=["emk_0123456789ab"])]
) -> KeyInfo:
    """It opens nothing from the next request on, in any process. One that is revoked already stays as it is."""
    return service.revoke(resources, key_id)
