# Made by client/unasync.py from completions.py of _async: change that one, and run it.
"""`client.completions` and `client.chat`: text of any version, in OpenAI's shapes, whole or as it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel

from emmetd_client._answers import problem_error
from emmetd_client._calls import Call, Repeat, nothing, reading
from emmetd_client._retrying import failure_of
from emmetd_client._server_sent_events import EVENT_STREAM, EventDecoder
from emmetd_client._sync.transport import Transport
from emmetd_client.errors import ConnectionFailedError, UnexpectedAnswerError
from emmetd_client.models.completions import ChatChunk, ChatCompletion, Completion

M = TypeVar("M", bound=BaseModel)

Prompt = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]
Stop = str | Sequence[str] | None
_COMPLETIONS, _CHAT = "/v1/completions", "/v1/chat/completions"
_LAST = "[DONE]"


class Completions:
    """`client.completions`. Other fields of OpenAI's request are taken by name (`logprobs=5`, `echo=True`, …)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        model: str,
        prompt: Prompt,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        n: int | None = None,
        stop: Stop = None,
        seed: int | None = None,
        **more: Any,
    ) -> Completion:
        """What `model` (NAME, NAME@v3, NAME@alias) goes on with after `prompt`; `temperature=0` is greedy."""
        body = _body(model, max_tokens, temperature, top_p, n, stop, seed, more, prompt=prompt)
        call = Call("POST", _COMPLETIONS, reading(Completion), body=body, repeat=Repeat.REFUSED)
        return self._transport.send(call)

    def stream(
        self,
        *,
        model: str,
        prompt: Prompt,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        n: int | None = None,
        stop: Stop = None,
        seed: int | None = None,
        **more: Any,
    ) -> Iterator[Completion]:
        """As `create`, a piece at a time: `text` of each is what it adds."""
        body = _body(model, max_tokens, temperature, top_p, n, stop, seed, more, prompt=prompt, stream=True)
        for chunk in _chunks(self._transport, _COMPLETIONS, body, Completion):
            yield chunk


class Chat:
    """`client.chat`. `messages` are OpenAI's: [{"role": "user", "content": "…"}]; a text alone is one of a user's."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        model: str,
        messages: str | Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        n: int | None = None,
        stop: Stop = None,
        seed: int | None = None,
        **more: Any,
    ) -> ChatCompletion:
        """What `model` answers, through its chat template."""
        body = _body(model, max_tokens, temperature, top_p, n, stop, seed, more, messages=_messages(messages))
        call = Call("POST", _CHAT, reading(ChatCompletion), body=body, repeat=Repeat.REFUSED)
        return self._transport.send(call)

    def stream(
        self,
        *,
        model: str,
        messages: str | Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        n: int | None = None,
        stop: Stop = None,
        seed: int | None = None,
        **more: Any,
    ) -> Iterator[ChatChunk]:
        """As `create`, a piece at a time."""
        said = _messages(messages)
        body = _body(model, max_tokens, temperature, top_p, n, stop, seed, more, messages=said, stream=True)
        for chunk in _chunks(self._transport, _CHAT, body, ChatChunk):
            yield chunk


def _messages(messages: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [dict(message) for message in messages]


def _body(
    model: str,
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    n: int | None,
    stop: Stop,
    seed: int | None,
    more: Mapping[str, Any],
    **fields: Any,
) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "n": n,
        "stop": stop if stop is None or isinstance(stop, str) else list(stop),
        "seed": seed,
        **more,
        **fields,
    }


def _chunks(transport: Transport, template: str, body: Mapping[str, Any], model: type[M]) -> Iterator[M]:
    """The chunks of one streamed answer. One that breaks off is told: what was written is not written again."""
    call = Call("POST", template, nothing, body=body, repeat=Repeat.REFUSED)
    decoder = EventDecoder()
    try:
        with transport.opened(call, EVENT_STREAM) as response:
            for piece in response.iter_bytes():
                for event in decoder.feed(piece):
                    if event.data == _LAST:
                        return
                    found = json.loads(event.data)
                    if isinstance(found, dict) and "error" in found:
                        raise problem_error(found, response.headers)
                    yield model.model_validate(found)
    except httpx.TransportError as failure:
        raise failure_of(failure, transport.configuration.base_url) from failure
    except ValueError as error:
        raise UnexpectedAnswerError(f"a chunk of the answer cannot be read: {error}") from error
    raise ConnectionFailedError(f"the answer of {transport.configuration.base_url} broke off; ask again")
