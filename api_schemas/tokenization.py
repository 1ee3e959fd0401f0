"""vLLM's `/tokenize`, `/detokenize` and `/tokenizer_info`, which evaluation harnesses use in place of a tokenizer."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api_schemas.openai.chat import ChatMessage
from api_schemas.references import ReferenceText
from api_schemas.texts import PromptText

Reference = ReferenceText | None
"""As in other requests; it may be left out where there is one model only."""


class TokenizeRequest(BaseModel):
    """Either a `prompt` or the `messages` of a conversation.

    `add_special_tokens`: by default to a prompt and not to a conversation, whose template writes its own.
    """

    model_config = ConfigDict(extra="forbid")

    model: Reference = None
    prompt: PromptText | None = None
    messages: Annotated[list[ChatMessage] | None, Field(min_length=1, max_length=10_000)] = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = True
    return_token_strs: bool | None = False


class Tokenized(BaseModel):
    """`token_strs` are the tokens' names in the vocabulary."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: Reference = None
    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]


class Detokenized(BaseModel):
    prompt: str


class TokenizerInfo(BaseModel):
    """The special tokens that the tokenizer has are there by name: `bos_token`, `eos_token` and others."""

    model_config = ConfigDict(extra="allow")

    model: str
    tokenizer_class: str
    model_max_length: int
    chat_template: str | None
