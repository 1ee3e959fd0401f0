"""Generated text, in OpenAI's shapes."""

from __future__ import annotations

from typing import Any

from emmetd_client.models.answers import Answer


class Usage(Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Logprobs(Answer):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None
    text_offset: list[int] = []


class Choice(Answer):
    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class Completion(Answer):
    """`system_fingerprint` is NAME@vN of the version that wrote it."""

    id: str
    created: int | None = None
    model: str
    system_fingerprint: str | None = None
    choices: list[Choice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """That of the first choice; empty where there is none, as in the last chunk of a stream."""
        return self.choices[0].text if self.choices else ""


class Message(Answer):
    role: str = "assistant"
    content: str = ""


class ChatChoice(Answer):
    index: int
    message: Message
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None


class ChatCompletion(Answer):
    """`system_fingerprint` is NAME@vN of the version that wrote it."""

    id: str
    created: int | None = None
    model: str
    system_fingerprint: str | None = None
    choices: list[ChatChoice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        return self.choices[0].message.content if self.choices else ""


class ChatDelta(Answer):
    role: str | None = None
    content: str | None = None


class ChatChunkChoice(Answer):
    index: int
    delta: ChatDelta
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None


class ChatChunk(Answer):
    """What a streamed answer adds."""

    id: str
    created: int | None = None
    model: str
    system_fingerprint: str | None = None
    choices: list[ChatChunkChoice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        return (self.choices[0].delta.content or "") if self.choices else ""
