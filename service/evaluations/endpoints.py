"""`/v1/evaluations`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from api_schemas.evaluations import EvaluationJob, EvaluationPage
from service.errors import (
    BodyTooSlowError,
    BusyError,
    InvalidFieldsError,
    MalformedJSONError,
    OverloadedError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from service.evaluations import service
from service.evaluations.report.style import POLICY
from service.evaluations.views import WrittenJob
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
    response_model=EvaluationJob,
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
) -> Response:
    """What `model` means is pinned now: a version that is published later changes nothing in this measurement.

    `facts_of` measures what a version of the model says, all or a `sample` of it, instead of `facts` sent along; what
    that is, is pinned too. For `drift` alone no facts are needed.
    """
    media_type(request, JSON_TYPE)
    async with resources.large_bodies.body_of(request) as body:
        accepted = await run_in_threadpool(service.submit, resources, body, idempotency_key)
        del body  # not kept while the answer waits
    look = partial(service.get, resources, accepted.id, None, _PAGE)
    job = await awaited(request, resources, response.headers, WrittenJob.of(accepted), prefer, look)
    response.headers["Location"] = f"/v1/evaluations/{job.id}"
    return _answer(job, response, 202)


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
    response_model=EvaluationJob,
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
) -> Response:
    """Metrics by version, and a page of the rows of single facts."""
    look = partial(service.get, resources, evaluation_id, cursor, limit)
    job = await awaited(request, resources, response.headers, await run_in_threadpool(look), prefer, look)
    return _answer(job, response)


@router.get(
    "/{evaluation_id}/report",
    response_class=HTMLResponse,
    summary="Read an evaluation as a page",
    responses={
        200: {"description": "A page without script that asks no other host.", "content": {"text/html": {}}},
        **responses(EvaluationNotFoundError, OverloadedError),
    },
)
async def get_report(resources: ResourcesDependency, evaluation_id: EvaluationId) -> Response:
    """Charts, measurements with their intervals, the worst facts and what is said of them.

    While it runs, what has been measured so far. One page is made at a time, and a key may have four waiting: beyond
    that the answer is 429.
    """
    page = await resources.reports.run(resources.caller, partial(service.report, resources, evaluation_id))
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


@router.post(
    "/{evaluation_id}/cancel",
    response_model=EvaluationJob,
    summary="Cancel an evaluation",
    responses=responses(EvaluationNotFoundError),
)
def cancel(response: Response, resources: ResourcesDependency, evaluation_id: EvaluationId) -> Response:
    """What waits or runs is cancelled at once; what has ended stays as it is."""
    return _answer(service.cancel(resources, evaluation_id, _PAGE), response)


def _answer(job: WrittenJob, response: Response, status: int = 200) -> Response:
    """As the documented model would be answered, with the headers of `response`."""
    return Response(job.body, status, dict(response.headers), JSON_TYPE)
