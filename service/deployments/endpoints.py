"""`/v1/deployments`."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api_schemas.deployments import Deployment, DeploymentEventPage, DeploymentPage, RemovedDeployment
from service.deployments import service
from service.errors import InvalidFieldsError, MalformedJSONError, TooLargeError, UnsupportedMediaTypeError
from service.http.bodies import JSON_TYPE, media_type
from service.http.cursors import Cursor, Limit
from service.http.problems import responses
from service.resources import ResourcesDependency
from store.errors import (
    CursorError,
    DeploymentExistsError,
    DeploymentLimitError,
    DeploymentNotFoundError,
    ModelNotFoundError,
    VersionNotFoundError,
)

router = APIRouter(prefix="/v1/deployments", tags=["deployments"])

DeploymentId = Annotated[str, Path(max_length=40)]

_EXAMPLE: Final = {"model": "smollm2-135m@production", "target": "vllm+http://10.0.0.5:8000"}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {JSON_TYPE: {"schema": {"$ref": "#/components/schemas/DeploymentRequest"}, "example": _EXAMPLE}},
    }
}


@router.post(
    "",
    status_code=202,
    summary="Have an engine elsewhere serve a version, and follow its alias",
    openapi_extra=_BODY,
    responses={
        202: {
            "description": "Kept; it is done as soon as the engine answers.",
            "headers": {"Location": {"description": "Where it is watched.", "schema": {"type": "string"}}},
        },
        **responses(
            MalformedJSONError,
            ModelNotFoundError,
            VersionNotFoundError,
            DeploymentExistsError,
            DeploymentLimitError,
            TooLargeError,
            UnsupportedMediaTypeError,
            InvalidFieldsError,
        ),
    },
)
async def create(request: Request, response: Response, resources: ResourcesDependency) -> Deployment:
    """Where family and rank allow it the version is an adapter that a vLLM loads while it runs; else the checkpoint is
    written to the deployment folder, and the answer says how the engine is started with it.

    Each version's greedy answers there are compared with ours before the engine's users meet it: up to 20 of its facts
    and 20 ordinary prompts. Where they differ, what was served stays. A moved alias is followed, and a target that was
    away is caught up with.
    """
    media_type(request, JSON_TYPE)
    found = await run_in_threadpool(service.create, resources, await request.body())
    response.headers["Location"] = f"/v1/deployments/{found.id}"
    return found


@router.get("", summary="List deployments", responses=responses(ModelNotFoundError, CursorError, InvalidFieldsError))
def list_deployments(
    resources: ResourcesDependency,
    model: Annotated[str | None, Query(max_length=200, description="Only those of this model.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> DeploymentPage:
    """Newest first."""
    return service.page(resources, model, cursor, limit)


@router.get(
    "/{deployment_id}",
    summary="Show a deployment: what it shall serve, what it serves, and what was found there",
    responses=responses(DeploymentNotFoundError),
)
def get(resources: ResourcesDependency, deployment_id: DeploymentId) -> Deployment:
    """The target's key is not shown."""
    return service.get(resources, deployment_id)


@router.get(
    "/{deployment_id}/events",
    summary="Show how a deployment came to its state",
    responses=responses(DeploymentNotFoundError, CursorError, InvalidFieldsError),
)
def events(
    resources: ResourcesDependency, deployment_id: DeploymentId, cursor: Cursor = None, limit: Limit = 100
) -> DeploymentEventPage:
    """Newest first; the newest thousand are kept."""
    return service.events(resources, deployment_id, cursor, limit)


@router.delete(
    "/{deployment_id}",
    summary="End a deployment",
    responses=responses(DeploymentNotFoundError),
)
async def remove(resources: ResourcesDependency, deployment_id: DeploymentId) -> RemovedDeployment:
    """The engine is told to serve its adapter no more. One that does not answer goes on serving it: `unloaded` is false
    then."""
    row = await run_in_threadpool(service.forget, resources, deployment_id)
    return await service.unload(row)
