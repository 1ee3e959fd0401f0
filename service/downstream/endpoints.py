"""`/v1/models/{model}/versions/{version}/downstream`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from api_schemas.downstream import DownstreamPage, DownstreamResult, DownstreamSubmission
from service.downstream import service
from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.cursors import Cursor, Limit
from service.http.problems import responses
from service.models.parameters import Name, Version
from service.resources import ResourcesDependency
from store.errors import CursorError, ModelNotFoundError, VersionNotFoundError

router = APIRouter(prefix="/v1/models", tags=["models"])

_EXAMPLE: Final = {
    "harness": {"name": "lm-eval", "version": "0.4.13"},
    "settings": {"num_fewshot": 0},
    "results": {"arc_easy": {"n": 2376, "measures": {"acc": {"value": 0.58, "stderr": 0.01}}}},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/DownstreamSubmission"}, "example": _EXAMPLE}},
    }
}


@router.post(
    "/{model}/versions/{version}/downstream",
    status_code=201,
    summary="Keep what another program measured of a version",
    openapi_extra=_BODY,
    responses=responses(
        MalformedJSONError,
        ModelNotFoundError,
        VersionNotFoundError,
        TooLargeError,
        UnsupportedMediaTypeError,
        InvalidFieldsError,
    ),
)
async def add_downstream(
    request: Request, resources: ResourcesDependency, model: Name, version: Version
) -> DownstreamResult:
    """`emmetd evaluate NAME@v --tasks …` runs lm-eval over this API and keeps its results here.

    A guarded alias asks for them before it is moved to the version. What is kept is not changed; newer results of a
    task stand before older ones.
    """
    media_type(request, JSON_TYPE)
    sent = await run_in_threadpool(read_model, await request.body(), DownstreamSubmission)
    return await run_in_threadpool(service.add, resources, model, version, sent)


@router.get(
    "/{model}/versions/{version}/downstream",
    summary="List what other programs measured of a version, newest first",
    responses=responses(ModelNotFoundError, VersionNotFoundError, CursorError, InvalidFieldsError),
)
def list_downstream(
    resources: ResourcesDependency, model: Name, version: Version, cursor: Cursor = None, limit: Limit = 20
) -> DownstreamPage:
    return service.page(resources, model, version, cursor, limit)
