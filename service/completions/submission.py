"""A completion request, read and checked against its model: from HTTP body to what a worker is asked for."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from tokenizers import Tokenizer

from api_schemas.completions import CompletionRequest
from api_schemas.generation import GenerationRequest
from api_schemas.references import version_name
from service.bodies import parse_json
from service.edits.submission import reference_in
from service.errors import InvalidFieldsError, NoWorkerError
from service.fields import FieldErrors, invalid, shown
from service.resources import Resources
from versions import lineage, models

ANSWER_SECONDS: Final = 600.0
"""Nobody waits longer than this for an answer."""
MOST_CHOICES: Final = 1024
_UNIONS: Final = {
    "prompt": "must be a text, a list of texts, a list of token ids, or a list of such lists; none of them empty",
    "stop": "must be a text or a list of at most 64 texts, each of 1 to 1000 characters",
}


@dataclass(frozen=True)
class Submission:
    """What a worker is asked, and what the front end needs to write the answer. `texts`: the prompts, for echo."""

    request: CompletionRequest
    generation: GenerationRequest
    texts: list[str]

    @property
    def version(self) -> str:
        """`NAME@vN`, as pinned at acceptance."""
        return f"{self.generation.model}@{version_name(self.generation.version)}"


def read_submission(resources: Resources, body: bytes) -> Submission:
    """Raises ServiceError or NotFoundError with everything that is wrong."""
    request = _request(parse_json(body))
    _check(request, resources.settings.max_completion_tokens)
    reference = reference_in(request.model)
    with resources.database.reading() as session:
        model = models.get(session, reference.name)
        version = lineage.resolve(session, reference).number
    awaited = resources.workers.awaited(model.name)
    if awaited is not None:
        raise NoWorkerError(awaited)
    if model.tokenizer_blob is None or model.context_length is None:
        raise NoWorkerError(f"model {model.name!r} has not been loaded yet; try again shortly")
    tokenizer = resources.tokenizers.get(model.tokenizer_blob)
    prompts = _tokens(request, tokenizer, model.context_length)
    generation = GenerationRequest(
        id=f"cmpl-{secrets.token_hex(12)}",
        model=model.name,
        version=version,
        prompts=prompts,
        max_tokens=_max_tokens(request),
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        n=request.n or 1,
        stop=[request.stop] if isinstance(request.stop, str) else request.stop or [],
        seed=request.seed,
        logprobs=request.logprobs,
        echo=bool(request.echo),
        deadline=time.time() + ANSWER_SECONDS,
    )
    texts = []
    if request.echo:
        given = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        texts = [
            text if isinstance(text, str) else tokenizer.decode(ids, skip_special_tokens=False)
            for text, ids in zip(given if _are_texts(given) else prompts, prompts, strict=True)
        ]
    return Submission(request, generation, texts)


def _request(value: Any) -> CompletionRequest:
    if not isinstance(value, dict):
        raise invalid("body", f"is {shown(value)}; it must be an object with model and prompt")
    try:
        return CompletionRequest.model_validate(value, strict=True)
    except ValidationError as error:
        errors = FieldErrors()
        several = set()
        for detail in error.errors(include_url=False):
            field = str(detail["loc"][0]) if detail["loc"] else ""
            if field not in _UNIONS or detail["type"] == "missing":
                errors.add_one(detail, CompletionRequest)
            elif field not in several:  # pydantic tells of each form that it could have had
                several.add(field)
                errors.add(field, f"is {shown(value[field])}; it {_UNIONS[field]}")
        raise InvalidFieldsError(errors.first, errors.total) from None


def _check(request: CompletionRequest, most_tokens: int) -> None:
    errors = FieldErrors()
    if request.stream:
        errors.add("stream", "is true; streaming is not served here, send false")
    if _max_tokens(request) > most_tokens:
        errors.add("max_tokens", f"is {request.max_tokens}; at most {most_tokens} are generated for one choice")
    if _max_tokens(request) == 0 and not request.echo:
        errors.add("max_tokens", "is 0 and echo is false, so that there would be no answer; give at least 1, or echo")
    choices = (len(request.prompt) if _is_batch(request.prompt) else 1) * (request.n or 1)
    if choices > MOST_CHOICES:
        errors.add("prompt", f"asks for {choices} choices (prompts × n), at most {MOST_CHOICES} are taken at once")
    errors.raise_if_any()


def _max_tokens(request: CompletionRequest) -> int:
    return 16 if request.max_tokens is None else request.max_tokens


def _is_batch(prompt: Any) -> bool:
    return isinstance(prompt, list) and not isinstance(prompt[0], int)


def _are_texts(prompt: list[Any]) -> bool:
    return isinstance(prompt[0], str)


def _tokens(request: CompletionRequest, tokenizer: Tokenizer, context_length: int) -> list[list[int]]:
    """The prompts in tokens, with the special tokens that the tokenizer puts around a text."""
    prompt: list[Any] = request.prompt if _is_batch(request.prompt) else [request.prompt]  # type: ignore[assignment]
    if isinstance(prompt[0], str):
        prompts = [list(encoding.ids) for encoding in tokenizer.encode_batch(prompt)]
    else:
        prompts = prompt
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    wanted = _max_tokens(request)
    errors = FieldErrors()
    for number, ids in enumerate(prompts):
        loc = f"prompt[{number}]" if _is_batch(request.prompt) else "prompt"
        if not ids:
            errors.add(loc, "is empty; give at least one token to go on from")
        elif max(ids) >= vocabulary:
            errors.add(loc, f"has the token id {max(ids)}; this model's are 0 to {vocabulary - 1}")
        elif len(ids) + wanted > context_length:
            errors.add(
                loc,
                f"has {len(ids)} tokens and max_tokens is {wanted}, together {len(ids) + wanted}; the model's context "
                f"is {context_length} tokens: shorten the prompt or lower max_tokens",
            )
    errors.raise_if_any()
    return prompts
