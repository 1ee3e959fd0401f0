"""OpenAI's `/v1/chat/completions`, the part that we answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api_schemas.openai.completions import FinishReason, Usage
from api_schemas.openai.sampling import SamplingRequest, only
from api_schemas.texts import PromptText

Ignored = Annotated[str | None, Field(max_length=200)]
"""A name by which a provider would count or cache; there is nothing here that it could change."""


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: PromptText


class ChatMessage(BaseModel):
    """One message. An assistant's may be sent back as it came, with the fields that are empty in it.

    `type` is none of OpenAI's: lm-eval sends it.
    """

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: PromptText | Annotated[list[TextPart], Field(min_length=1, fail_fast=True)]
    name: Annotated[str | None, Field(max_length=200)] = None
    type: Annotated[str | None, only("text")] = None
    refusal: Annotated[str | None, only()] = None
    audio: Annotated[dict[str, Any] | None, only()] = None
    annotations: Annotated[list[Any] | None, only([])] = None
    tool_calls: Annotated[list[Any] | None, only([])] = None
    function_call: Annotated[dict[str, Any] | None, only()] = None

    @property
    def text(self) -> str:
        """The content as one text; parts stand on lines of their own."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class ChatRequest(SamplingRequest):
    """Tools, formats other than text and everything else that is not served are taken at their neutral values alone."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    tools: Annotated[list[Any] | None, only([])] = None
    tool_choice: Annotated[Any, only("none", "auto")] = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[Any] | None, only([])] = None
    function_call: Annotated[Any, only("none", "auto")] = None
    response_format: Annotated[dict[str, Any] | None, only({"type": "text"})] = None
    modalities: Annotated[list[Any] | None, only(["text"])] = None
    reasoning_effort: Annotated[str | None, only("none")] = None
    store: Annotated[bool | None, only(False)] = None
    metadata: Annotated[dict[str, Any] | None, only({})] = None
    service_tier: Annotated[str | None, only("auto", "default")] = None
    prompt_cache_key: Ignored = None
    safety_identifier: Ignored = None


class TokenLogprob(BaseModel):
    """`bytes` are the token's in UTF-8, for those that are only a part of a character."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatTokenLogprob(TokenLogprob):
    top_logprobs: list[TokenLogprob]


class ChatLogprobs(BaseModel):
    content: list[ChatTokenLogprob]
    refusal: None = None


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(TypedDict, total=False):
    """What a chunk adds to a message."""

    role: Literal["assistant"]
    content: str


class ChatChunkChoice(BaseModel):
    """`role` comes with a choice's first chunk, `finish_reason` with its last, which adds no content."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(BaseModel):
    """Where `stream_options.include_usage` asks for it, all have `usage`: null but in the last one, without choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
