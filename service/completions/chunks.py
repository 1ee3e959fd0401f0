"""A worker's events as the chunks of OpenAI's streamed answer, choices in the order in which their tokens come."""

from __future__ import annotations

import time
from collections.abc import Iterator

from api_schemas.openai.completions import ChunkChoice, CompletionChunk, FinishReason, Logprobs, Usage
from configuration.redis.generation_messages import FinishEvent, GenerationEvent, PromptEvent, TokensEvent
from service.completions.logprobs import LogprobsWriter
from service.completions.submission import CompletionSubmission
from service.generation.token_texts import TokenTexts
from service.generation.usage import usage


class CompletionChunks:
    def __init__(self, submission: CompletionSubmission) -> None:
        self._submission = submission
        self._created = int(time.time())
        self._count = 0
        self._prompts = submission.choices
        self._unechoed = set(range(len(self._prompts))) if submission.generation.echo else set()
        self._logprobs: list[LogprobsWriter] = []
        if submission.generation.logprobs is not None:
            texts = TokenTexts(submission.pinned.model.tokenizer)
            self._logprobs = [LogprobsWriter(texts, submission.generation.logprobs) for _ in self._prompts]

    def of(self, event: GenerationEvent) -> Iterator[str]:
        """Nothing where the event adds nothing that can be shown yet."""
        if isinstance(event, PromptEvent):
            yield self._echo(event.choice, self._logprobs[event.choice].write(event.tokens, self._added(event.choice)))
        elif isinstance(event, TokensEvent | FinishEvent) and event.choice in self._unechoed:
            yield self._echo(event.choice, None)
        if isinstance(event, TokensEvent):
            self._count += event.count
            logprobs = self._logprobs[event.choice].write(event.tokens) if event.tokens else None
            if event.text or logprobs is not None:
                yield self._chunk(event.choice, event.text, logprobs)
        elif isinstance(event, FinishEvent):
            yield self._chunk(event.choice, "", None, event.reason)

    def last(self) -> Iterator[str]:
        """What it took, where that was asked for."""
        if self._submission.request.wants_usage:
            yield self._written([], usage(self._submission.generation, self._count))

    def _added(self, choice: int) -> frozenset[int]:
        return self._prompts[choice].added

    def _echo(self, choice: int, logprobs: Logprobs | None) -> str:
        self._unechoed.discard(choice)
        return self._chunk(choice, self._prompts[choice].text, logprobs)

    def _chunk(self, choice: int, text: str, logprobs: Logprobs | None, reason: FinishReason | None = None) -> str:
        return self._written([ChunkChoice(index=choice, text=text, logprobs=logprobs, finish_reason=reason)], None)

    def _written(self, choices: list[ChunkChoice], used: Usage | None) -> str:
        chunk = CompletionChunk(
            id=self._submission.generation.id,
            created=self._created,
            model=self._submission.request.model,
            system_fingerprint=self._submission.pinned.version_name,
            choices=choices,
            usage=used,
        )
        return chunk.model_dump_json(exclude=None if self._submission.request.wants_usage else {"usage"})
