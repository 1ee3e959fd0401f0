"""A worker's events as OpenAI's answer."""

from __future__ import annotations

import time

from api_schemas.openai.completions import Choice, Completion, FinishReason, Logprobs
from configuration.redis.generation_messages import FinishEvent, GenerationEvent, PromptEvent, TokenInfo, TokensEvent
from service.completions.logprobs import LogprobsWriter
from service.completions.submission import CompletionSubmission, Prompt
from service.generation.token_texts import TokenTexts
from service.generation.usage import usage


class CompletionAnswer:
    """Collects the events of one request, choice by choice."""

    def __init__(self, submission: CompletionSubmission) -> None:
        self._submission = submission
        self._texts = TokenTexts(submission.pinned.model.tokenizer)
        self._choices = [_CompletionChoice(prompt, submission.generation.echo) for prompt in submission.choices]

    def add(self, event: GenerationEvent) -> None:
        if isinstance(event, TokensEvent):
            choice = self._choices[event.choice]
            choice.text += event.text
            choice.count += event.count
            choice.tokens += event.tokens
        elif isinstance(event, PromptEvent):
            self._choices[event.choice].tokens[:0] = event.tokens
        elif isinstance(event, FinishEvent):
            self._choices[event.choice].finish_reason = event.reason

    def whole(self) -> Completion:
        """The whole answer; call it when the events have ended."""
        submission = self._submission
        return Completion(
            id=submission.generation.id,
            created=int(time.time()),
            model=submission.request.model,
            system_fingerprint=submission.pinned.version_name,
            choices=[
                Choice(
                    index=index,
                    text=choice.text,
                    logprobs=self._logprobs(choice),
                    finish_reason=choice.finish_reason,
                )
                for index, choice in enumerate(self._choices)
            ],
            usage=usage(submission.generation, sum(choice.count for choice in self._choices)),
        )

    def _logprobs(self, choice: _CompletionChoice) -> Logprobs | None:
        asked = self._submission.generation.logprobs
        if asked is None:
            return None
        return LogprobsWriter(self._texts, asked).write(choice.tokens, choice.added)


class _CompletionChoice:
    """`text` and `tokens` begin with the prompt where that is echoed."""

    def __init__(self, prompt: Prompt, echo: bool) -> None:
        self.text = prompt.text if echo else ""
        self.added = prompt.added if echo else frozenset[int]()
        self.count = 0
        self.tokens: list[TokenInfo] = []
        self.finish_reason: FinishReason = "length"
