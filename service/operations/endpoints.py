"""`/livez`, `/readyz` and `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.responses import Response

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


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(resources: ResourcesDependency) -> Response:
    return Response(await resources.exposition(resources.metrics.exposition), media_type=CONTENT_TYPE_LATEST)
