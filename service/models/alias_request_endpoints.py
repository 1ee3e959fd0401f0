"""`/v1/models/{model}/alias-requests`."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from api_schemas.aliases import AliasDecision, AliasRequest, AliasRequestPage, AliasRequestState
from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.cursors import Cursor, Limit
from service.http.problems import responses
from service.models import alias_requests
from service.models.parameters import Name
from service.resources import ResourcesDependency
from store.errors import (
    AliasMovedError,
    AliasProtectedError,
    AliasRequestClosedError,
    AliasRequestNotFoundError,
    CursorError,
    ModelNotFoundError,
    SameKeyError,
    VersionNotFoundError,
)

router = APIRouter(prefix="/v1/models/{model}/alias-requests", tags=["models"])

RequestId = Annotated[str, Path(max_length=60, examples=["move_01kah3v0d5m8"])]
_NOT_FOUND: Final = (ModelNotFoundError, AliasRequestNotFoundError)
_DECIDING: Final = (
    *_NOT_FOUND,
    AliasRequestClosedError,
    MalformedJSONError,
    TooLargeError,
    UnsupportedMediaTypeError,
    InvalidFieldsError,
)
_DECISION: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {
            JSON_TYPE: {
                "schema": {"$ref": "#/components/schemas/AliasDecision"},
                "example": {"reason": "measured against v3, holds"},
            }
        },
    }
}


@router.get(
    "",
    summary="List changes of aliases that were asked for, newest first",
    responses=responses(ModelNotFoundError, CursorError, InvalidFieldsError),
)
def list_alias_requests(
    resources: ResourcesDependency,
    model: Name,
    alias: Annotated[str | None, Query(max_length=64, description="Only those of this alias.")] = None,
    state: Annotated[AliasRequestState | None, Query(description="Only those in this state.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> AliasRequestPage:
    return alias_requests.page(resources, model, alias, state, cursor, limit)


@router.get("/{request_id}", summary="Show a change of an alias that was asked for", responses=responses(*_NOT_FOUND))
def get_alias_request(resources: ResourcesDependency, model: Name, request_id: RequestId) -> AliasRequest:
    return alias_requests.get(resources, model, request_id)


@router.post(
    "/{request_id}/approve",
    summary="Approve a change of an alias, and carry it out",
    openapi_extra=_DECISION,
    responses=responses(*_DECIDING, SameKeyError, AliasProtectedError, AliasMovedError, VersionNotFoundError),
)
async def approve_alias_request(
    request: Request, resources: ResourcesDependency, model: Name, request_id: RequestId
) -> AliasRequest:
    """With another key than the one that asked, and only while the alias points where it did then (409 otherwise)."""
    decision = await _decision(request)
    return await run_in_threadpool(alias_requests.approve, resources, model, request_id, decision.reason)


@router.post(
    "/{request_id}/refuse",
    summary="Refuse a change of an alias, or withdraw one's own",
    openapi_extra=_DECISION,
    responses=responses(*_DECIDING),
)
async def refuse_alias_request(
    request: Request, resources: ResourcesDependency, model: Name, request_id: RequestId
) -> AliasRequest:
    """An administrator refuses anybody's; the key that asked withdraws its own."""
    decision = await _decision(request)
    return await run_in_threadpool(alias_requests.refuse, resources, model, request_id, decision.reason)


async def _decision(request: Request) -> AliasDecision:
    body = await request.body()
    if not body and "content-type" not in request.headers:
        return AliasDecision()
    media_type(request, JSON_TYPE)
    return await run_in_threadpool(read_model, body, AliasDecision)
