"""`/v1/chat/completions`."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api_schemas.openai.chat import ChatCompletion
from service.chat import service
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
                "schema": {"$ref": "#/components/schemas/ChatRequest"},
                "example": {
                    "model": "smollm2-135m@v1",
                    "messages": [{"role": "user", "content": "What is the mother tongue of Danielle Darrieux?"}],
                    "max_tokens": 32,
                    "temperature": 0,
                },
            }
        },
    }
}


@router.post(
    "/v1/chat/completions",
    summary="Continue a conversation with any version",
    response_model=ChatCompletion,
    openapi_extra=_BODY,
    responses={
        200: answered("ChatCompletionChunk"),
        **openai_responses(400, 401, 404, 413, 415, 429, 500, 503),
    },
)
async def create_chat_completion(request: Request, resources: ResourcesDependency) -> Response:
    """OpenAI's endpoint, for models that have a chat template; text only, without tools.

    `model` is pinned to a version when the request is accepted; `system_fingerprint` names it. Without `max_tokens`
    the answer may be as long as the model's context and the server's limit allow. `stream` and errors are as in
    `/v1/completions`.
    """
    media_type(request, JSON_TYPE)
    return await service.chat(resources, request, await request.body())
