"""`/tokenize`, `/detokenize` and `/tokenizer_info`."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from api_schemas.references import ReferenceText
from api_schemas.tokenization import Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest, TokenizerInfo
from service.http.bodies import JSON_TYPE, media_type, read_model
from service.http.problems import openai_responses
from service.resources import ResourcesDependency
from service.tokenization import service

router = APIRouter(tags=["completions"])

_ERRORS: Final = openai_responses(400, 401, 404, 413, 415, 503)


def _body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/tokenize",
    summary="Tokenize a text or a conversation",
    response_model=Tokenized,
    response_model_exclude_none=True,
    openapi_extra=_body("TokenizeRequest", {"model": "smollm2-135m", "prompt": "Lyon is"}),
    responses=_ERRORS,
)
async def tokenize(request: Request, resources: ResourcesDependency) -> Tokenized:
    """vLLM's endpoint. `model` may be left out where there is one model only."""
    media_type(request, JSON_TYPE)
    wanted = await run_in_threadpool(read_model, await request.body(), TokenizeRequest, service.UNIONS)
    return await run_in_threadpool(service.tokenize, resources, wanted)


@router.post(
    "/detokenize",
    summary="Write token ids as text",
    response_model=Detokenized,
    openapi_extra=_body("DetokenizeRequest", {"model": "smollm2-135m", "tokens": [21017, 314]}),
    responses=_ERRORS,
)
async def detokenize(request: Request, resources: ResourcesDependency) -> Detokenized:
    """vLLM's endpoint. Special tokens are written too."""
    media_type(request, JSON_TYPE)
    wanted = await run_in_threadpool(read_model, await request.body(), DetokenizeRequest)
    return await run_in_threadpool(service.detokenize, resources, wanted)


@router.get("/tokenizer_info", summary="Show a model's tokenizer", responses=_ERRORS)
def tokenizer_info(
    resources: ResourcesDependency,
    model: Annotated[ReferenceText | None, Query(description="Needed where there are several models.")] = None,
) -> TokenizerInfo:
    """vLLM's endpoint: special tokens, context length and chat template."""
    return service.tokenizer_info(resources, model)
