"""A worker's events as the chunks of OpenAI's streamed chat answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

from api_schemas.openai.chat import ChatChunkChoice, ChatCompletionChunk, ChatDelta, ChatLogprobs
from api_schemas.openai.completions import FinishReason, Usage
from configuration.redis.generation_messages import FinishEvent, GenerationEvent, TokensEvent
from service.chat.logprobs import chat_logprobs
from service.chat.submission import ChatSubmission
from service.generation.token_texts import TokenTexts
from service.generation.usage import usage


class ChatChunks:
    def __init__(self, submission: ChatSubmission) -> None:
        self._submission = submission
        self._created = int(time.time())
        self._count = 0
        self._begun: set[int] = set()
        self._texts = TokenTexts(submission.pinned.model.tokenizer)

    def of(self, event: GenerationEvent) -> Iterator[str]:
        """Nothing where the event adds nothing that can be shown yet."""
        if isinstance(event, TokensEvent | FinishEvent) and event.choice not in self._begun:
            self._begun.add(event.choice)
            yield self._chunk(event.choice, {"role": "assistant", "content": ""})
        if isinstance(event, TokensEvent):
            self._count += event.count
            if event.text or event.tokens:
                logprobs = chat_logprobs(self._texts, event.tokens) if event.tokens else None
                yield self._chunk(event.choice, {"content": event.text}, logprobs)
        elif isinstance(event, FinishEvent):
            yield self._chunk(event.choice, {}, reason=event.reason)

    def last(self) -> Iterator[str]:
        """What it took, where that was asked for."""
        if self._submission.request.wants_usage:
            yield self._written([], usage(self._submission.generation, self._count))

    def _chunk(
        self, choice: int, delta: ChatDelta, logprobs: ChatLogprobs | None = None, reason: FinishReason | None = None
    ) -> str:
        return self._written(
            [ChatChunkChoice(index=choice, delta=delta, logprobs=logprobs, finish_reason=reason)], None
        )

    def _written(self, choices: list[ChatChunkChoice], used: Usage | None) -> str:
        chunk = ChatCompletionChunk(
            id=self._submission.generation.id,
            created=self._created,
            model=self._submission.request.model,
            system_fingerprint=self._submission.pinned.version_name,
            choices=choices,
            usage=used,
        )
        return chunk.model_dump_json(exclude=None if self._submission.request.wants_usage else {"usage"})
