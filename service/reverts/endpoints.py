"""`/v1/models/{model}/versions/{version}/revert`."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.edits import EditJob
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
from service.reverts import service
from store.errors import (
    AliasProtectedError,
    BatchNotFoundError,
    ConflictError,
    IdempotencyConflictError,
    ModelNotFoundError,
    NotInLineageError,
    QueueFullError,
    VersionNotFoundError,
)

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.post(
    "/{model}/versions/{version}/revert",
    status_code=202,
    summary="Take facts out of a version",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON_TYPE: {"schema": {"$ref": "#/components/schemas/RevertRequest"}, "example": {"facts": [0, 3]}}
            },
        }
    },
    responses={
        202: {
            "description": "Kept as an edit batch of kind `revert`.",
            "headers": {"Location": {"description": "Where the job is watched.", "schema": {"type": "string"}}},
        },
        **responses(
            MalformedJSONError,
            MalformedRequestError,
            AliasProtectedError,
            ModelNotFoundError,
            VersionNotFoundError,
            BatchNotFoundError,
            ConflictError,
            NotInLineageError,
            TooLargeError,
            UnsupportedMediaTypeError,
            InvalidFieldsError,
            IdempotencyConflictError,
            QueueFullError,
        ),
    },
)
async def revert(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    model: Name,
    version: Version,
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
    prefer: Prefer = None,
) -> EditJob:
    """A new version without some facts: those of `facts`, in the batch of one version, or all of `edits`.

    On an alias, or on the version that `latest` points at, it joins that alias's line and moves it when it is
    published; on any other version it is a branch. Versions in between are not altered, and an answer that a fact had
    corrected is given again. A fact whose subject stands alone in its edit leaves without a new optimisation.
    Without `thresholds`, EM of the facts that stay in the same edits may fall by 0.1, as may that of a sample of all
    that the version says; without a `budget`, drift may not grow where it is beyond the default one.
    """
    media_type(request, JSON_TYPE)
    path = {"revert": f"{model}@{version}"}
    submission = EditSubmission(JSON_TYPE, await request.body(), path, idempotency_key, if_match)
    job = await run_in_threadpool(service.submit, resources, model, version, submission)
    look = partial(edits.get, resources, job.id)
    job = await awaited(request, resources, response.headers, job, prefer, look)
    response.headers["Location"] = f"/v1/edits/{job.id}"
    return job
