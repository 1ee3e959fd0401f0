"""OpenAI's `/v1/completions`, the part that we answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api_schemas.openai.sampling import SamplingRequest, only
from api_schemas.texts import PromptText

# Of a long list the first wrong entry is told: an error for each takes a hundred times the memory of what was sent.
Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, fail_fast=True)]
FinishReason = Literal["stop", "length"]


class CompletionRequest(SamplingRequest):
    """`best_of` is taken where it equals `n`: every choice that is made is given."""

    prompt: (
        PromptText
        | Annotated[list[PromptText], Field(min_length=1, fail_fast=True)]
        | Tokens
        | Annotated[list[Tokens], Field(min_length=1, fail_fast=True)]
    )
    max_tokens: Annotated[int | None, Field(ge=0)] = 16
    logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    echo: bool | None = False
    best_of: Annotated[int | None, Field(ge=1)] = None
    suffix: Annotated[str | None, only("")] = None


class Logprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class Choice(BaseModel):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: FinishReason


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage


class ChunkChoice(BaseModel):
    """What has been added to one choice. `finish_reason` comes with its last chunk, whose text is empty."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


class CompletionChunk(BaseModel):
    """Where `stream_options.include_usage` asks for it, all have `usage`: null but in the last one, without choices."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class OpenAIErrorDetail(BaseModel):
    """`param` is the field that is wrong; `code` is as stable as that of our own resources' problems."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(BaseModel):
    """OpenAI's error envelope, which its clients read."""

    error: OpenAIErrorDetail
