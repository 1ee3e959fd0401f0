"""A chat request, read and checked against its model: from HTTP body to what a worker is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from api_schemas.openai.chat import ChatRequest
from configuration.redis.generation_messages import GenerationRequest
from service.chat.template import write_conversation
from service.errors import ContextLengthError
from service.generation.pinning import PinnedModel, pin
from service.generation.submission import (
    MOST_TOKENS,
    STOP_UNION,
    check_length,
    check_sampling,
    check_tokens,
    generation_request,
)
from service.http.bodies import read_model
from service.http.fields import FieldErrors
from service.resources import Resources

CONTENT_UNION: Final = 'must be a text, or a list of parts {"type": "text", "text": …}; others are not read here'
_UNIONS: Final = {"messages.content": CONTENT_UNION, "stop": STOP_UNION}


@dataclass(frozen=True)
class ChatSubmission:
    """What a worker is asked, and what the front end needs to write the answer."""

    request: ChatRequest
    pinned: PinnedModel
    generation: GenerationRequest


def read_submission(resources: Resources, body: bytes) -> ChatSubmission:
    """Raises ServiceError or NotFoundError with everything that is wrong."""
    request = read_model(body, ChatRequest, _UNIONS)
    most = resources.settings.max_completion_tokens
    _check(request, most)
    pinned = pin(resources, request.model)
    ids = pinned.model.tokenizer.encode(
        write_conversation(pinned.model, request.messages), add_special_tokens=False
    ).ids
    generation = generation_request(
        request,
        pinned,
        [ids],
        prefix="chatcmpl",
        max_tokens=_max_tokens(request, len(ids), most, pinned),
        logprobs=(request.top_logprobs or 0) if request.logprobs else None,
    )
    return ChatSubmission(request, pinned, generation)


def _check(request: ChatRequest, most_tokens: int) -> None:
    errors = FieldErrors()
    check_sampling(request, errors)
    wanted, field = _asked_tokens(request)
    if wanted is not None:
        check_tokens(errors, field, wanted, request.n or 1, most_tokens)
    if request.max_tokens is not None and request.max_completion_tokens not in (None, request.max_tokens):
        errors.add(
            "max_tokens",
            f"is {request.max_tokens} and max_completion_tokens is {request.max_completion_tokens}; give one of them",
        )
    if request.top_logprobs is not None and not request.logprobs:
        errors.add("top_logprobs", "is given, but logprobs is not true; leave it out, or ask for logprobs")
    errors.raise_if_any()


def _asked_tokens(request: ChatRequest) -> tuple[int | None, str]:
    """How many tokens the request asks for, and in which field."""
    if request.max_completion_tokens is not None:
        return request.max_completion_tokens, "max_completion_tokens"
    return request.max_tokens, "max_tokens"


def _max_tokens(request: ChatRequest, prompt_tokens: int, most_tokens: int, pinned: PinnedModel) -> int:
    """What was asked for; else what fits into the context. Raises InvalidFieldsError where nothing does."""
    asked, field = _asked_tokens(request)
    errors = FieldErrors()
    if prompt_tokens == 0:
        errors.add("messages", "make an empty text in the model's chat template; send a message that says something")
    left = pinned.model.context_length - prompt_tokens
    if asked is not None:
        check_length(errors, "messages", prompt_tokens, asked, field, pinned)
    elif left < 1:
        errors.add(
            "messages",
            f"have {prompt_tokens} tokens, which leaves none for an answer; this model's maximum context length is "
            f"{pinned.model.context_length} tokens: shorten the conversation",
            ContextLengthError,
        )
    errors.raise_if_any()
    return asked or min(most_tokens, left, MOST_TOKENS // (request.n or 1))
