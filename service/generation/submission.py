"""Validates what completions and chat requests have in common, and builds the request to the workers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Final

from api_schemas.openai.sampling import SamplingRequest
from configuration.redis.generation_messages import GenerationRequest
from service.errors import ContextLengthError
from service.generation.pinning import PinnedModel
from service.http.fields import FieldErrors

ANSWER_SECONDS: Final = 600.0
"""Nobody waits longer than this for an answer."""
MOST_CHOICES: Final = 1024
MOST_TOKENS: Final = 65_536
"""Of all choices of a request together: a reply stream is capped, and so are a front end's mailboxes."""

STOP_UNION: Final = "must be a text or a list of at most 64 texts, each of 1 to 1000 characters"


def check_sampling(request: SamplingRequest, errors: FieldErrors) -> None:
    """What no single field can tell."""
    if request.stream_options is not None and not request.stream:
        errors.add("stream_options", "is given, but stream is not true; leave it out, or stream")


def check_tokens(errors: FieldErrors, field: str, wanted: int, choices: int, most: int) -> None:
    """Whether `wanted` tokens may be asked for in `field`, for each of `choices`; at most `most` for one."""
    if wanted > most:
        errors.add(field, f"is {wanted}; at most {most} are generated for one choice")
    elif wanted * choices > MOST_TOKENS:
        errors.add(
            field,
            f"is {wanted} for each of {choices} choices, {wanted * choices} in all; at most {MOST_TOKENS} are made "
            "for one request: send several",
        )


def check_echoes(errors: FieldErrors, prompt_tokens: int, wanted: int, choices: int, n: int) -> None:
    """Whether the log-probabilities of all prompts may be told for each of their `n` choices."""
    positions_told = prompt_tokens * n + wanted * choices
    if positions_told > MOST_TOKENS:
        errors.add(
            "prompt",
            f"has {prompt_tokens} tokens, whose log-probabilities are told for each of n = {n} choices, with those of "
            f"the answers {positions_told} in all; at most {MOST_TOKENS} are told for one request: send several, or a "
            "lower n",
        )


def check_length(
    errors: FieldErrors, field: str, prompt_tokens: int, wanted: int, wanted_field: str, pinned: PinnedModel
) -> None:
    """Whether the prompt in `field` and the `wanted` tokens fit into the model's context together."""
    most = pinned.model.context_length
    if prompt_tokens + wanted > most:
        errors.add(
            field,
            f"has {prompt_tokens} tokens and {wanted_field} is {wanted}, together {prompt_tokens + wanted}; this "
            f"model's maximum context length is {most} tokens: shorten the prompt or lower {wanted_field}",
            ContextLengthError,
        )


def generation_request(
    request: SamplingRequest,
    pinned: PinnedModel,
    prompts: Sequence[Sequence[int]],
    *,
    prefix: str,
    max_tokens: int,
    logprobs: int | None,
    echo: bool = False,
) -> GenerationRequest:
    """`prefix` is what the ids of such answers begin with."""
    return GenerationRequest(
        id=f"{prefix}-{secrets.token_hex(12)}",
        model=pinned.model.name,
        version=pinned.version,
        prompts=[list(ids) for ids in prompts],
        max_tokens=max_tokens,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        n=request.n or 1,
        stop=[request.stop] if isinstance(request.stop, str) else request.stop or [],
        seed=request.seed,
        logprobs=logprobs,
        echo=echo,
        deadline=time.time() + ANSWER_SECONDS,
    )
