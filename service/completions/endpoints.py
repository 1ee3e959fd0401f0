"""`/v1/completions`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api_schemas.openai.completions import Completion
from service.completions import service
from service.generation.documentation import answered
from service.http.bodies import JSON_TYPE, media_type
from service.http.problems import openai_responses
from service.resources import ResourcesDependency

router = APIRouter(tags=["completions"])

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
        200: answered("CompletionChunk"),
        **openai_responses(400, 401, 404, 413, 415, 429, 500, 503),
    },
)
async def create_completion(request: Request, resources: ResourcesDependency) -> Response:
    """OpenAI's endpoint. `model` is pinned to a version when the request is accepted; `system_fingerprint` names it.

    With `stream` the answer is a stream of server-sent events: a chunk for each piece of text as it becomes certain,
    then `[DONE]`. Errors come in OpenAI's envelope; one that comes after the first chunk is an event of its own, after
    which the stream ends without `[DONE]`; so does a stream whose key is revoked or expires.
    """
    media_type(request, JSON_TYPE)
    return await service.complete(resources, request, await request.body())
