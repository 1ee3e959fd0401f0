"""Streamed completions: what comes over the wire, and what happens when either side breaks off."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis
from tokenizers import Tokenizer

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.generation_messages import (
    EndEvent,
    ErrorEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    PromptEvent,
    TokenInfo,
    TokensEvent,
)
from configuration.redis.keys import cancelled_key, reply_stream
from service.generation import exchange
from tests.service.conftest import MODEL, Api, ask_and_hang_up, wait_until
from tests.support.stand_in_worker import StandInWorker

PROMPT = "The capital of Country is"
DONE = "[DONE]"


@contextmanager
def streamed(api: Api, **fields: Any) -> Iterator[httpx.Response]:
    body = {"model": MODEL, "prompt": PROMPT, "stream": True, **fields}
    with api.http.stream("POST", "/v1/completions", json=body) as response:
        yield response


def events(response: httpx.Response) -> Iterator[str]:
    """What stands in each event's data."""
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        assert field in ("", "data")
        if field:
            yield value


def chunks(api: Api, **fields: Any) -> list[dict[str, Any]]:
    """All chunks of a stream that ends as it should."""
    with streamed(api, **fields) as response:
        assert response.status_code == 200
        *found, last = events(response)
    assert last == DONE
    return [json.loads(chunk) for chunk in found]


def says(*texts: str) -> Callable[[GenerationRequest], Iterable[GenerationEvent]]:
    def script(request: GenerationRequest) -> Iterable[GenerationEvent]:
        for text in texts:
            yield TokensEvent(choice=0, text=text, count=1)
        yield FinishEvent(choice=0, reason="length")
        yield EndEvent(version=request.version)

    return script


def test_a_stream_is_a_chunk_for_each_piece_then_the_reason_then_done(api: Api, worker: StandInWorker) -> None:
    worker.script = says(" Lyon", "", " or", " Paris")
    with streamed(api) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-emmetd-version"] == f"{MODEL}@v0"
        assert response.headers["cache-control"] == "no-store"
        *found, last = events(response)
    pieces = [json.loads(chunk) for chunk in found]

    assert last == DONE
    assert [piece["choices"] for piece in pieces] == [
        [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}]
        for text, reason in [(" Lyon", None), (" or", None), (" Paris", None), ("", "length")]
    ]
    for piece in pieces:
        assert (piece["object"], piece["model"], piece["system_fingerprint"]) == (
            "text_completion",
            MODEL,
            f"{MODEL}@v0",
        )
        assert "usage" not in piece
    assert len({piece["id"] for piece in pieces}) == 1


def test_a_chunk_comes_when_its_text_does(api: Api, worker: StandInWorker) -> None:
    heard = threading.Event()

    def slow(request: GenerationRequest) -> Iterable[GenerationEvent]:
        yield TokensEvent(choice=0, text=" first", count=1)
        assert heard.wait(30)
        yield FinishEvent(choice=0, reason="stop")
        yield EndEvent(version=request.version)

    worker.script = slow
    with streamed(api) as response:
        found = events(response)
        assert json.loads(next(found))["choices"][0]["text"] == " first"
        heard.set()
        assert [*found][-1] == DONE


def test_usage_comes_in_a_last_chunk_without_choices(api: Api, worker: StandInWorker, tokenizer: Tokenizer) -> None:
    worker.script = says(" a", " b")
    *others, last = chunks(api, stream_options={"include_usage": True})

    length = len(tokenizer.encode(PROMPT).ids)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": length, "completion_tokens": 2, "total_tokens": length + 2}
    assert [other["usage"] for other in others] == [None] * 3


def test_choices_come_mixed_by_index(api: Api, worker: StandInWorker) -> None:
    def mixed(request: GenerationRequest) -> Iterable[GenerationEvent]:
        for step in range(2):
            for choice in range(4):
                yield TokensEvent(choice=choice, text=f" {step}", count=1)
        for choice in (2, 0, 3, 1):
            yield FinishEvent(choice=choice, reason="stop")
        yield EndEvent(version=request.version)

    worker.script = mixed
    found = [piece["choices"][0] for piece in chunks(api, prompt=["a", "b"], n=2)]

    assert [choice["index"] for choice in found] == [0, 1, 2, 3, 0, 1, 2, 3, 2, 0, 3, 1]
    for index in range(4):
        own = [choice for choice in found if choice["index"] == index]
        assert "".join(choice["text"] for choice in own) == " 0 1"
        assert [choice["finish_reason"] for choice in own] == [None, None, "stop"]


def test_echo_comes_first_for_each_choice(api: Api, worker: StandInWorker) -> None:
    found = [piece["choices"][0] for piece in chunks(api, prompt=["a b", "c"], echo=True)]

    for index, text in enumerate(("a b", "c")):
        own = [choice["text"] for choice in found if choice["index"] == index]
        assert own == [text, " ok", ""]


def test_echo_alone_is_streamed_too(api: Api, worker: StandInWorker) -> None:
    def nothing(request: GenerationRequest) -> Iterable[GenerationEvent]:
        yield FinishEvent(choice=0, reason="length")
        yield EndEvent(version=request.version)

    worker.script = nothing
    found = [piece["choices"][0] for piece in chunks(api, prompt="a b", echo=True, max_tokens=0)]

    assert [(choice["text"], choice["finish_reason"]) for choice in found] == [("a b", None), ("", "length")]


def test_logprobs_of_all_chunks_together_are_those_of_the_whole_answer(
    api: Api, worker: StandInWorker, tokenizer: Tokenizer
) -> None:
    def scored(request: GenerationRequest) -> Iterable[GenerationEvent]:
        ids = request.prompts[0]
        others = [TokenInfo(id=token, logprob=-1.0, top=[(0, -0.5)]) for token in ids[1:]]
        yield PromptEvent(choice=0, tokens=[TokenInfo(id=ids[0], logprob=None), *others])
        for text in (" Lyon", " Paris"):
            (token,) = tokenizer.encode(text).ids
            info = TokenInfo(id=token, logprob=-0.25, top=[(token, -0.25)])
            yield TokensEvent(choice=0, text=text, count=1, tokens=[info])
        yield FinishEvent(choice=0, reason="length")
        yield EndEvent(version=request.version)

    worker.script = scored
    pieces = [piece["choices"][0] for piece in chunks(api, echo=True, logprobs=1)]
    with streamed(api, echo=True, logprobs=1, stream=False) as response:
        whole = json.loads(response.read())["choices"][0]

    assert "".join(piece["text"] for piece in pieces) == whole["text"] == f"{PROMPT} Lyon Paris"
    for field, values in whole["logprobs"].items():
        assert [value for piece in pieces if piece["logprobs"] for value in piece["logprobs"][field]] == values
    for token, offset in zip(whole["logprobs"]["tokens"], whole["logprobs"]["text_offset"], strict=True):
        assert whole["text"][offset:].startswith(token)


def test_an_error_before_the_first_token_is_an_ordinary_one(api: Api, worker: StandInWorker) -> None:
    worker.script = lambda request: [ErrorEvent(status=503, code="version_unavailable", message="blob is missing")]
    with streamed(api) as response:
        error = json.loads(response.read())["error"]

    assert (response.status_code, error["code"]) == (503, "version_unavailable")
    assert "retry-after" in response.headers
    with streamed(api, max_tokens=-1) as response:
        assert (response.status_code, json.loads(response.read())["error"]["param"]) == (400, "max_tokens")


def test_an_error_after_the_first_token_is_an_event_and_the_stream_lacks_its_end(
    api: Api, worker: StandInWorker
) -> None:
    worker.script = lambda request: [
        TokensEvent(choice=0, text=" a", count=1),
        ErrorEvent(status=500, code="generation_failed", message="the worker's log says why"),
    ]
    with streamed(api) as response:
        first, last = events(response)

    assert json.loads(first)["choices"][0]["text"] == " a"
    assert json.loads(last) == {
        "error": {
            "message": "the worker's log says why",
            "type": "server_error",
            "param": None,
            "code": "generation_failed",
        }
    }


def test_a_worker_that_dies_midway_is_told_in_the_stream(
    api: Api, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CHECK_SECONDS", 0.2)
    worker.script = lambda request: [TokensEvent(choice=0, text=" a", count=1)]
    with streamed(api) as response:
        found = events(response)
        next(found)
        worker.die()
        (last,) = found

    assert json.loads(last)["error"]["code"] == "answer_lost"


def test_a_client_that_hangs_up_midway_cancels_its_request(
    api: Api, worker: StandInWorker, redis_server: PrivateRedis
) -> None:
    worker.script = lambda request: [TokensEvent(choice=0, text=" a", count=1)]
    with streamed(api) as response:
        assert json.loads(next(events(response)))["choices"][0]["text"] == " a"
    with redis.Redis.from_url(redis_server.url) as client:
        wait_until(lambda: client.exists(cancelled_key(worker.seen[0].id)), "the request is cancelled")
        wait_until(lambda: not client.exists(reply_stream(worker.seen[0].id)), "its tokens are gone")


def test_a_client_that_hangs_up_before_the_first_token_cancels_its_request(
    api: Api, worker: StandInWorker, redis_server: PrivateRedis
) -> None:
    worker.script = lambda request: []
    ask_and_hang_up(api, worker, stream=True)
    with redis.Redis.from_url(redis_server.url) as client:
        wait_until(lambda: client.exists(cancelled_key(worker.seen[0].id)), "the request is cancelled")


def test_nothing_is_left_in_redis_after_a_stream(api: Api, worker: StandInWorker, redis_server: PrivateRedis) -> None:
    chunks(api)
    with redis.Redis.from_url(redis_server.url) as client:
        wait_until(lambda: not client.exists(reply_stream(worker.seen[0].id)), "its tokens are gone")
        assert not client.exists(cancelled_key(worker.seen[0].id))


def test_many_streams_at_once_each_get_their_own_tokens(api: Api, worker: StandInWorker) -> None:
    """More of them than the connections that the server has to Redis."""
    worker.script = lambda request: [
        *(TokensEvent(choice=0, text=f" {request.prompts[0][0]}", count=1) for _ in range(3)),
        FinishEvent(choice=0, reason="stop"),
        EndEvent(version=request.version),
    ]

    async def text_of(client: httpx.AsyncClient, token: int) -> str:
        body = {"model": MODEL, "prompt": [token], "stream": True}
        async with client.stream("POST", "/v1/completions", json=body) as response:
            lines = [line.removeprefix("data: ") async for line in response.aiter_lines() if line]
        assert lines.pop() == DONE
        return "".join(json.loads(line)["choices"][0]["text"] for line in lines)

    async def all_texts() -> list[str]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=api.url, limits=limits, timeout=60, verify=False) as client:
            return await asyncio.gather(*(text_of(client, token) for token in range(80)))

    assert asyncio.run(all_texts()) == [f" {token}" * 3 for token in range(80)]
