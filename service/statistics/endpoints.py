"""`/v1/statistics`, and `/v1/corpora` that they are made from."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.statistics import CorpusList, StatisticJob, StatisticPage
from service.errors import (
    BusyError,
    InvalidFieldsError,
    MalformedJSONError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from service.http.bodies import JSON_TYPE, media_type
from service.http.conditions import IdempotencyKey
from service.http.cursors import Cursor, Limit
from service.http.preferences import Prefer, awaited
from service.http.problems import responses
from service.resources import ResourcesDependency
from service.statistics import service
from store.errors import (
    CursorError,
    IdempotencyConflictError,
    ModelNotFoundError,
    StatisticNotFoundError,
    VersionNotFoundError,
)

router = APIRouter(prefix="/v1", tags=["statistics"])

StatisticId = Annotated[str, Path(max_length=40)]
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_TYPE: {
                "schema": {"$ref": "#/components/schemas/StatisticRequest"},
                "example": {"model": "smollm2-135m", "layers": [8], "corpus": "self"},
            }
        },
    }
}


@router.post(
    "/statistics",
    status_code=202,
    summary="Make C0 of some layers ahead of time",
    openapi_extra=_BODY,
    responses={
        202: {
            "description": "Kept; a worker makes it while nothing else of the model waits.",
            "headers": {"Location": {"description": "Where it is watched.", "schema": {"type": "string"}}},
        },
        **responses(
            MalformedJSONError,
            ModelNotFoundError,
            VersionNotFoundError,
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
) -> StatisticJob:
    """What is there already is not made again, and what one worker made the others of the model fetch.

    Edits use the default corpus; `GET /v1/corpora` says which it is.
    """
    media_type(request, JSON_TYPE)
    job = await run_in_threadpool(service.submit, resources, await request.body(), idempotency_key)
    job = await awaited(request, resources, response.headers, job, prefer, partial(service.get, resources, job.id))
    response.headers["Location"] = f"/v1/statistics/{job.id}"
    return job


@router.get("/statistics", summary="List statistics", responses=responses(ModelNotFoundError, CursorError))
def list_statistics(
    resources: ResourcesDependency,
    model: Annotated[str | None, Query(max_length=64, description="Only those of this model (NAME).")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> StatisticPage:
    """Newest first."""
    return service.page(resources, model, cursor, limit)


@router.get("/statistics/{statistic_id}", summary="Watch a statistic", responses=responses(StatisticNotFoundError))
async def get_statistic(
    request: Request,
    response: Response,
    resources: ResourcesDependency,
    statistic_id: StatisticId,
    prefer: Prefer = None,
) -> StatisticJob:
    """How far it is and, when it has succeeded, what each layer's C0 is like."""
    job = await run_in_threadpool(service.get, resources, statistic_id)
    return await awaited(request, resources, response.headers, job, prefer, partial(service.get, resources, job.id))


@router.post(
    "/statistics/{statistic_id}/cancel", summary="Cancel a statistic", responses=responses(StatisticNotFoundError)
)
def cancel(resources: ResourcesDependency, statistic_id: StatisticId) -> StatisticJob:
    """What it has read so far is kept on the worker's disk, where the same statistic asked for again goes on."""
    return service.cancel(resources, statistic_id)


@router.get("/corpora", summary="List what C0 can be made from")
def list_corpora(resources: ResourcesDependency) -> CorpusList:
    """`self`, text that the model writes itself, is always there; the operator configures the others by name."""
    return service.corpora(resources)
