"""A worker's events as OpenAI's answer."""

from __future__ import annotations

import time
from typing import Literal

from api_schemas.completions import Choice, Completion, Logprobs, Usage
from api_schemas.generation import FinishEvent, GenerationEvent, PromptEvent, TokenInfo, TokensEvent
from service.completions.submission import Submission


class AnswerInProgress:
    """Collects the events of one request, choice by choice."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        generation = submission.generation
        self._choices = [
            _Choice(submission.texts[number // generation.n] if submission.texts else "")
            for number in range(len(generation.prompts) * generation.n)
        ]

    def add(self, event: GenerationEvent) -> None:
        if isinstance(event, TokensEvent):
            self._choices[event.choice].text += event.text
            self._choices[event.choice].count += event.count
            self._choices[event.choice].tokens += event.tokens
        elif isinstance(event, PromptEvent):
            self._choices[event.choice].tokens[:0] = event.tokens
        elif isinstance(event, FinishEvent):
            self._choices[event.choice].finish_reason = event.reason

    def completion(self) -> Completion:
        """The whole answer; call it when the events have ended."""
        generation = self._submission.generation
        prompt_tokens = sum(map(len, generation.prompts))
        completion_tokens = sum(choice.count for choice in self._choices)
        with_logprobs = generation.logprobs is not None
        return Completion(
            id=generation.id,
            created=int(time.time()),
            model=self._submission.request.model,
            system_fingerprint=self._submission.version,
            choices=[
                Choice(
                    index=index,
                    text=choice.text,
                    logprobs=_logprobs(choice.tokens, generation.logprobs) if with_logprobs else None,
                    finish_reason=choice.finish_reason,
                )
                for index, choice in enumerate(self._choices)
            ],
            usage=Usage(
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                total_tokens=prompt_tokens + completion_tokens,
            ),
        )


class _Choice:
    """`text` begins with the prompt where that is echoed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.count = 0
        self.tokens: list[TokenInfo] = []
        self.finish_reason: Literal["stop", "length"] = "length"


def _logprobs(tokens: list[TokenInfo], asked: int | None) -> Logprobs:
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token.text)
    return Logprobs(
        tokens=[token.text for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[token.top for token in tokens] if asked else None,
        text_offset=offsets,
    )
