"""`/livez`, `/readyz`, `/metrics` and `/v1/workers`."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.responses import Response

from api_schemas.workers import WorkerInfo, WorkerList
from service.errors import UnavailableError
from service.http.problems import responses
from service.operations.readiness import awaited
from service.resources import ResourcesDependency

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    status: str = "ok"


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Health:
    """Answers as long as the process does; looks at nothing else."""
    return Health()


@router.get("/readyz", summary="Are edits and completions served?", responses=responses(UnavailableError))
async def readyz(resources: ResourcesDependency) -> Health:
    """200 when the database and the blobs take writes, and Redis and a worker of every model answer.

    Else 503 saying what is awaited.
    """
    missing = await resources.readiness(lambda: awaited(resources))
    if missing:
        raise UnavailableError(f"waiting: {'; '.join(missing)}", retry_seconds=2)
    return Health()


@router.get("/v1/workers", summary="List the workers that live", responses=responses(UnavailableError))
def list_workers(resources: ResourcesDependency) -> WorkerList:
    """As they said of themselves some seconds ago. A key for some models sees those models' workers."""
    statuses = resources.workers.statuses()
    seen = [status for status in statuses if resources.caller.sees(status.model)]
    return WorkerList(data=[WorkerInfo.model_validate(status, from_attributes=True) for status in seen])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(resources: ResourcesDependency) -> Response:
    return Response(await resources.exposition(resources.metrics.exposition), media_type=CONTENT_TYPE_LATEST)
