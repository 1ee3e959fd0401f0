"""A completion request, read and checked against its model: from HTTP body to what a worker is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from api_schemas.openai.completions import CompletionRequest
from configuration.redis.generation_messages import GenerationRequest
from service.generation.pinning import PinnedModel, pin
from service.generation.submission import (
    MOST_CHOICES,
    STOP_UNION,
    check_echoes,
    check_length,
    check_sampling,
    check_tokens,
    generation_request,
)
from service.http.bodies import read_model
from service.http.fields import FieldErrors
from service.resources import Resources

_DEFAULT_TOKENS: Final = 16
_UNIONS: Final = {
    "prompt": "must be a text, a list of texts, a list of token ids, or a list of such lists; none of them empty",
    "stop": STOP_UNION,
}


@dataclass(frozen=True)
class Prompt:
    """One prompt in tokens, and as the text that `echo` gives back. `added` are the tokens that are not in the text."""

    ids: list[int]
    text: str
    added: frozenset[int] = frozenset()


@dataclass(frozen=True)
class CompletionSubmission:
    """What a worker is asked, and what the front end needs to write the answer."""

    request: CompletionRequest
    pinned: PinnedModel
    generation: GenerationRequest
    prompts: list[Prompt]

    @property
    def choices(self) -> list[Prompt]:
        """The prompt of each choice."""
        return [prompt for prompt in self.prompts for _ in range(self.generation.n)]


def read_submission(resources: Resources, body: bytes) -> CompletionSubmission:
    """Raises ServiceError or NotFoundError with everything that is wrong."""
    request = read_model(body, CompletionRequest, _UNIONS)
    _check(request, resources.settings.max_completion_tokens)
    pinned = pin(resources, request.model)
    prompts = _prompts(request, pinned)
    generation = generation_request(
        request,
        pinned,
        [prompt.ids for prompt in prompts],
        prefix="cmpl",
        max_tokens=_max_tokens(request),
        logprobs=request.logprobs,
        echo=bool(request.echo),
    )
    return CompletionSubmission(request, pinned, generation, prompts)


def _check(request: CompletionRequest, most_tokens: int) -> None:
    errors = FieldErrors()
    check_sampling(request, errors)
    wanted, n = _max_tokens(request), request.n or 1
    if wanted == 0 and not request.echo:
        errors.add("max_tokens", "is 0 and echo is false, so that there would be no answer; give at least 1, or echo")
    if request.best_of is not None and request.best_of != n:
        errors.add("best_of", f"is {request.best_of} and n is {n}; all choices that are made are given: leave it out")
    choices = (len(request.prompt) if _is_batch(request.prompt) else 1) * n
    if choices > MOST_CHOICES:
        errors.add("prompt", f"asks for {choices} choices (prompts × n), at most {MOST_CHOICES} are taken at once")
    else:
        check_tokens(errors, "max_tokens", wanted, choices, most_tokens)
    errors.raise_if_any()


def _max_tokens(request: CompletionRequest) -> int:
    return _DEFAULT_TOKENS if request.max_tokens is None else request.max_tokens


def _is_batch(prompt: Any) -> bool:
    return isinstance(prompt, list) and not isinstance(prompt[0], int)


def _prompts(request: CompletionRequest, pinned: PinnedModel) -> list[Prompt]:
    """Texts get the special tokens that the tokenizer puts around a text; token ids are taken as they are."""
    given: list[Any] = request.prompt if _is_batch(request.prompt) else [request.prompt]  # type: ignore[assignment]
    tokenizer = pinned.model.tokenizer
    if isinstance(given[0], str):
        prompts = [
            Prompt(
                encoding.ids, text, frozenset(n for n, special in enumerate(encoding.special_tokens_mask) if special)
            )
            for text, encoding in zip(given, tokenizer.encode_batch(given), strict=True)
        ]
    else:
        prompts = [Prompt(ids, "") for ids in given]
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    errors = FieldErrors()
    for number, prompt in enumerate(prompts):
        field = f"prompt[{number}]" if _is_batch(request.prompt) else "prompt"
        if not prompt.ids:
            errors.add(field, "is empty; give at least one token to go on from")
        elif max(prompt.ids) >= vocabulary:
            errors.add(field, f"has the token id {max(prompt.ids)}; this model's are 0 to {vocabulary - 1}")
        else:
            check_length(errors, field, len(prompt.ids), _max_tokens(request), "max_tokens", pinned)
    if request.echo and request.logprobs is not None:
        n = request.n or 1
        check_echoes(errors, sum(len(prompt.ids) for prompt in prompts), _max_tokens(request), len(prompts) * n, n)
    errors.raise_if_any()
    if request.echo and not isinstance(given[0], str):
        return [Prompt(prompt.ids, tokenizer.decode(prompt.ids, skip_special_tokens=False)) for prompt in prompts]
    return prompts
