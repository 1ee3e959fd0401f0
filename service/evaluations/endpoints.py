"""`/v1/evaluations`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.evaluations import EvaluationJob, EvaluationPage
from service.errors import (
    BodyTooSlowError,
    BusyError,
    InvalidFieldsError,
    MalformedJSONError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from service.evaluations import service
from service.http.bodies import JSON_TYPE, media_type
from service.http.conditions import IdempotencyKey
from service.http.cursors import Cursor, Limit
from service.http.preferences import Prefer, awaited
from service.http.problems import responses
from service.resources import ResourcesDependency
from store.errors import (
    CursorError,
    EvaluationNotFoundError,
    FactsRemovedError,
    IdempotencyConflictError,
    ModelNotFoundError,
    VersionNotFoundError,
    VersionUnavailableError,
)

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"])

EvaluationId = Annotated[str, Path(max_length=40)]

_PAGE: Final = 100
_EXAMPLE: Final = {
    "model": "smollm2-135m@v1",
    "compare_with": "v0",
    "metrics": ["ES", "PS", "NS", "S"],
    "facts": [
        {
            "prompt": "The mother tongue of {} is",
            "subject": "Danielle Darrieux",
            "target_new": "English",
            "target_old": "French",
        }
    ],
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/EvaluationRequest"}, "example": _EXAMPLE}},
    }
}


@router.post(
    "",
    status_code=202,
    summary="Measure a version on facts",
    openapi_extra=_BODY,
    responses={
        202: {
            "description": "Kept; it runs beside edits.",
            "headers": {"Location": {"description": "Where it is watched.", "schema": {"type": "string"}}},
        },
        **responses(
            MalformedJSONError,
            ModelNotFoundError,
            VersionNotFoundError,
            VersionUnavailableError,
            FactsRemovedError,
            BodyTooSlowError,
            TooLargeError,
            UnsupportedMediaTypeError,
            InvalidFieldsError,
            IdempotencyConflictError,
            BusyError,
        ),
    },
)
async def submit(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> EvaluationJob:
    """What `model` means is pinned now: a version that is published later changes nothing in this measurement.

    `facts_of` measures what a version of the model says, all or a `sample` of it, instead of `facts` sent along; what
    that is, is pinned too. For `drift` alone no facts are needed.
    """
    media_type(request, JSON_TYPE)
    async with resources.large_bodies.body_of(request) as body:
        job = await run_in_threadpool(service.submit, resources, body, idempotency_key)
        del body  # not kept while the answer waits
    look = partial(service.get, resources, job.id, None, _PAGE)
    job = await awaited(request, resources, response.headers, job, prefer, look)
    response.headers["Location"] = f"/v1/evaluations/{job.id}"
    return job


@router.get(
    "",
    summary="List evaluations, newest first",
    responses=responses(ModelNotFoundError, CursorError, InvalidFieldsError),
)
def list_evaluations(
    resources: ResourcesDependency,
    model: Annotated[str | None, Query(max_length=64, description="Only those of this model (NAME).")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> EvaluationPage:
    """Without the rows of single facts."""
    return service.page(resources, model, cursor, limit)


@router.get(
    "/{evaluation_id}",
    summary="Read an evaluation",
    responses=responses(EvaluationNotFoundError, CursorError, InvalidFieldsError),
)
async def get_evaluation(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    evaluation_id: EvaluationId,
    cursor: Cursor = None,
    limit: Limit = _PAGE,
    prefer: Prefer = None,
) -> EvaluationJob:
    """Metrics by version, and a page of the rows of single facts."""
    look = partial(service.get, resources, evaluation_id, cursor, limit)
    return await awaited(request, resources, response.headers, await run_in_threadpool(look), prefer, look)


@router.post("/{evaluation_id}/cancel", summary="Cancel an evaluation", responses=responses(EvaluationNotFoundError))
def cancel(resources: ResourcesDependency, evaluation_id: EvaluationId) -> EvaluationJob:
    """What waits or runs is cancelled at once; what has ended stays as it is."""
    return service.cancel(resources, evaluation_id, _PAGE)
