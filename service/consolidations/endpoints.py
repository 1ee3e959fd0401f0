"""`/v1/models/{model}/versions/{version}/consolidate`."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.edits import EditJob
from service.consolidations import service
from service.edits import service as edits
from service.edits.submission import EditSubmission
from service.errors import (
    InvalidFieldsError,
    MalformedJSONError,
    MalformedRequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from service.http.bodies import JSON_TYPE, media_type
from service.http.conditions import IdempotencyKey, IfMatch
from service.http.preferences import Prefer, awaited
from service.http.problems import responses
from service.models.parameters import Name, Version
from service.resources import ResourcesDependency
from store.errors import (
    ConflictError,
    ConsolidationRunsError,
    FactsRemovedError,
    IdempotencyConflictError,
    ModelNotFoundError,
    NothingToConsolidateError,
    QueueFullError,
    TooManyFactsError,
    VersionNotFoundError,
    VersionUnavailableError,
)

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.post(
    "/{model}/versions/{version}/consolidate",
    status_code=202,
    summary="Solve a version's facts anew as one batch",
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {
                JSON_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ConsolidationRequest"},
                    "example": {"label": "the line of autumn"},
                }
            },
        }
    },
    responses={
        202: {
            "description": "Kept as an edit batch of kind `consolidation`.",
            "headers": {"Location": {"description": "Where the job is watched.", "schema": {"type": "string"}}},
        },
        **responses(
            MalformedJSONError,
            MalformedRequestError,
            ModelNotFoundError,
            VersionNotFoundError,
            ConflictError,
            ConsolidationRunsError,
            NothingToConsolidateError,
            TooManyFactsError,
            VersionUnavailableError,
            FactsRemovedError,
            TooLargeError,
            UnsupportedMediaTypeError,
            InvalidFieldsError,
            IdempotencyConflictError,
            QueueFullError,
        ),
    },
)
async def consolidate(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    model: Name,
    version: Version,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    prefer: Prefer = None,
) -> EditJob:
    """A new version on the base that says what `version` says: its facts in force, solved jointly.

    What was corrected or taken out since leaves. Values that still hold are not optimised again; facts that are then
    not said are. It is measured beside the version that it would replace, and no alias moves: that is a request of its
    own. Each fact names the one that it stands for in `origin`, and can be taken out like any other.
    """
    body = await request.body()
    if body or "content-type" in request.headers:
        media_type(request, JSON_TYPE)
    path = {"consolidate": f"{model}@{version}"}
    submission = EditSubmission(JSON_TYPE, body or b"{}", path, idempotency_key, if_match)
    job = await run_in_threadpool(service.submit, resources, model, version, submission)
    look = partial(edits.get, resources, job.id)
    job = await awaited(request, resources, response.headers, job, prefer, look)
    response.headers["Location"] = f"/v1/edits/{job.id}"
    return job
