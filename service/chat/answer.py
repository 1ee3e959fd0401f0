"""A worker's events as OpenAI's chat answer."""

from __future__ import annotations

import time

from api_schemas.openai.chat import AssistantMessage, ChatChoice, ChatCompletion
from api_schemas.openai.completions import FinishReason
from configuration.redis.generation_messages import FinishEvent, GenerationEvent, TokenInfo, TokensEvent
from service.chat.logprobs import chat_logprobs
from service.chat.submission import ChatSubmission
from service.generation.token_texts import TokenTexts
from service.generation.usage import usage


class ChatAnswer:
    """Collects the events of one request, choice by choice."""

    def __init__(self, submission: ChatSubmission) -> None:
        self._submission = submission
        self._choices = [_ChatChoice() for _ in range(submission.generation.n)]

    def add(self, event: GenerationEvent) -> None:
        if isinstance(event, TokensEvent):
            choice = self._choices[event.choice]
            choice.text += event.text
            choice.count += event.count
            choice.tokens += event.tokens
        elif isinstance(event, FinishEvent):
            self._choices[event.choice].finish_reason = event.reason

    def whole(self) -> ChatCompletion:
        """The whole answer; call it when the events have ended."""
        submission = self._submission
        texts = TokenTexts(submission.pinned.model.tokenizer)
        return ChatCompletion(
            id=submission.generation.id,
            created=int(time.time()),
            model=submission.request.model,
            system_fingerprint=submission.pinned.version_name,
            choices=[
                ChatChoice(
                    index=index,
                    message=AssistantMessage(content=choice.text),
                    logprobs=chat_logprobs(texts, choice.tokens) if submission.request.logprobs else None,
                    finish_reason=choice.finish_reason,
                )
                for index, choice in enumerate(self._choices)
            ],
            usage=usage(submission.generation, sum(choice.count for choice in self._choices)),
        )


class _ChatChoice:
    def __init__(self) -> None:
        self.text = ""
        self.count = 0
        self.tokens: list[TokenInfo] = []
        self.finish_reason: FinishReason = "length"
