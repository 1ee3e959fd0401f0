"""`/v1/completions`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api_schemas.completions import Completion
from service.bodies import JSON_TYPE, media_type
from service.completions import service
from service.problems import openai_responses
from service.resources import ResourcesDependency

router = APIRouter(tags=["completions"])

_CLIENT_GONE: Final = 499
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_TYPE: {
                "schema": {"$ref": "#/components/schemas/CompletionRequest"},
                "example": {
                    "model": "smollm2-135m@v1",
                    "prompt": "The mother tongue of Danielle Darrieux is",
                    "max_tokens": 8,
                    "temperature": 0,
                },
            }
        },
    }
}


@router.post(
    "/v1/completions",
    summary="Complete a text with any version",
    response_model=Completion,
    openapi_extra=_BODY,
    responses={
        200: {"headers": {"X-Emmetd-Version": {"description": "NAME@vN that answered.", "schema": {"type": "string"}}}},
        **openai_responses(400, 401, 404, 413, 415, 429, 500, 503),
    },
)
async def create_completion(request: Request, resources: ResourcesDependency) -> Response:
    """OpenAI's endpoint. `model` is pinned to a version when the request is accepted; `system_fingerprint` names it.

    Errors come in OpenAI's envelope. `stream` is not served yet.
    """
    media_type(request, JSON_TYPE)
    completion, version = await service.complete(resources, request, await request.body())
    if completion is None:
        return Response(status_code=_CLIENT_GONE)
    return Response(completion.model_dump_json(), media_type="application/json", headers={"X-Emmetd-Version": version})
