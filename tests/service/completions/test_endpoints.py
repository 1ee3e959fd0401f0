"""Completions, against the worker's side of the real Redis protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
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
from configuration.redis.keys import cancelled_key, claimed_key, generate_stream
from service.generation import exchange, submission
from tests.service.conftest import CONTEXT_LENGTH, MODEL, Api, ask_and_hang_up, wait_until
from tests.support.stand_in_worker import StandInWorker

PROMPT = "The capital of Country is"


def complete(api: Api, **fields: Any) -> httpx.Response:
    return api.http.post("/v1/completions", json={"model": MODEL, "prompt": PROMPT, **fields})


def test_a_completion_in_openais_shape(api: Api, worker: StandInWorker, tokenizer: Tokenizer) -> None:
    answer = complete(api, max_tokens=3, temperature=0, top_p=0.5, stop="x", seed=7)

    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["x-emmetd-version"] == body["system_fingerprint"] == f"{MODEL}@v0"
    assert (body["object"], body["model"], body["id"][:5]) == ("text_completion", MODEL, "cmpl-")
    assert body["choices"] == [{"index": 0, "text": " ok", "logprobs": None, "finish_reason": "stop"}]
    length = len(tokenizer.encode(PROMPT).ids)
    assert body["usage"] == {"prompt_tokens": length, "completion_tokens": 1, "total_tokens": length + 1}
    (asked,) = worker.seen
    assert asked.prompts == [tokenizer.encode(PROMPT).ids]
    assert (asked.version, asked.max_tokens, asked.temperature, asked.top_p) == (0, 3, 0, 0.5)
    assert (asked.stop, asked.seed, asked.n) == (["x"], 7, 1)
    assert asked.deadline > time.time()


def test_nulls_mean_the_defaults(api: Api, worker: StandInWorker) -> None:
    fields = dict.fromkeys(("max_tokens", "temperature", "top_p", "n", "stop", "seed", "logprobs", "echo", "stream"))

    assert complete(api, **fields).status_code == 200
    assert (worker.seen[0].max_tokens, worker.seen[0].temperature, worker.seen[0].n) == (16, 1.0, 1)


def test_settings_that_change_nothing_are_taken(api: Api, worker: StandInWorker) -> None:
    neutral = {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "suffix": None, "user": "someone"}

    assert complete(api, **neutral, n=2, best_of=2).status_code == 200


def test_prompts_may_be_texts_or_token_ids_and_each_has_n_choices(api: Api, worker: StandInWorker) -> None:
    def numbered(request: GenerationRequest) -> Iterable[GenerationEvent]:
        for choice in reversed(range(len(request.prompts) * request.n)):
            yield TokensEvent(choice=choice, text=f" {choice}", count=2)
            yield FinishEvent(choice=choice, reason="length")
        yield EndEvent(version=request.version)

    worker.script = numbered
    texts = complete(api, prompt=["a", "b c"], n=2).json()
    ids = complete(api, prompt=[[5, 6], [7]]).json()
    one = complete(api, prompt=[5, 6, 7]).json()

    assert [(choice["index"], choice["text"]) for choice in texts["choices"]] == [
        (number, f" {number}") for number in range(4)
    ]
    assert texts["usage"]["completion_tokens"] == 8
    assert {choice["finish_reason"] for choice in texts["choices"]} == {"length"}
    assert len(ids["choices"]) == 2
    assert [len(seen.prompts) for seen in worker.seen] == [2, 2, 1]
    assert worker.seen[1].prompts == [[5, 6], [7]]
    assert one["usage"]["prompt_tokens"] == 3


def test_echo_puts_the_prompt_before_the_text(api: Api, worker: StandInWorker, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Lyon is").ids

    assert [choice["text"] for choice in complete(api, prompt=["a b", "c"], n=1, echo=True).json()["choices"]] == [
        "a b ok",
        "c ok",
    ]
    assert complete(api, prompt=ids, echo=True).json()["choices"][0]["text"] == "Lyon is ok"


def test_logprobs_of_prompt_and_answer_as_evaluation_harnesses_ask_for_them(
    api: Api, worker: StandInWorker, tokenizer: Tokenizer
) -> None:
    the, capital, paris = (tokenizer.encode(text).ids[0] for text in ("The", " capital", " Paris"))

    def scored(request: GenerationRequest) -> Iterable[GenerationEvent]:
        first = TokenInfo(id=the, logprob=None)
        second = TokenInfo(id=capital, logprob=-1.5, top=[(paris, -0.5)])
        yield PromptEvent(choice=0, tokens=[first, second])
        yield FinishEvent(choice=0, reason="length")
        yield EndEvent(version=request.version)

    worker.script = scored
    answer = complete(api, prompt="The capital", max_tokens=0, echo=True, logprobs=1).json()

    assert answer["choices"][0]["text"] == "The capital"
    assert answer["choices"][0]["logprobs"] == {
        "tokens": ["The", " capital"],
        "token_logprobs": [None, -1.5],
        "top_logprobs": [None, {" Paris": -0.5, " capital": -1.5}],
        "text_offset": [0, 3],
    }
    assert (worker.seen[0].echo, worker.seen[0].logprobs, worker.seen[0].max_tokens) == (True, 1, 0)


def test_logprobs_zero_gives_the_tokens_own_alone(api: Api, worker: StandInWorker, tokenizer: Tokenizer) -> None:
    (lyon,) = tokenizer.encode(" Lyon").ids

    def scored(request: GenerationRequest) -> Iterable[GenerationEvent]:
        yield TokensEvent(choice=0, text=" Lyon", count=1, tokens=[TokenInfo(id=lyon, logprob=-0.25)])
        yield FinishEvent(choice=0, reason="length")
        yield EndEvent(version=request.version)

    worker.script = scored
    logprobs = complete(api, logprobs=0).json()["choices"][0]["logprobs"]

    assert logprobs == {"tokens": [" Lyon"], "token_logprobs": [-0.25], "top_logprobs": None, "text_offset": [0]}


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"prompt": 5}, "prompt", "must be a text, a list of texts"),
        ({"prompt": []}, "prompt", "none of them empty"),
        ({"prompt": [1, "a"]}, "prompt", "must be a text"),
        ({"prompt": ""}, "prompt", "at least one token"),
        ({"prompt": ["a", ""]}, "prompt[1]", "at least one token"),
        ({"prompt": [100_000]}, "prompt", "token id 100000; this model's are 0 to"),
        (
            {"prompt": "j" * CONTEXT_LENGTH, "max_tokens": 1},
            "prompt",
            f"maximum context length is {CONTEXT_LENGTH} tokens",
        ),
        ({"max_tokens": CONTEXT_LENGTH}, "prompt", "lower max_tokens"),
        ({"max_tokens": 2049}, "max_tokens", "at most 2048"),
        ({"max_tokens": 0}, "max_tokens", "give at least 1, or echo"),
        ({"max_tokens": -1}, "max_tokens", "at least 0"),
        ({"temperature": 3}, "temperature", "at most 2"),
        ({"stop": [1]}, "stop", "must be a text or a list"),
        ({"n": 0}, "n", "at least 1"),
        ({"n": 128, "prompt": ["a"] * 9}, "prompt", "asks for 1152 choices"),
        ({"n": 128, "max_tokens": 513}, "max_tokens", "65664 in all; at most 65536"),
        ({"best_of": 2}, "best_of", "is 2 and n is 1"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream is not true"),
        ({"stream": True, "stream_options": {"chunks": 1}}, "stream_options.chunks", "known: include_usage"),
        ({"presence_penalty": 0.5}, "presence_penalty", "is 0.5, which is not served here"),
        ({"frequency_penalty": -1}, "frequency_penalty", "is -1.0, which is not served here"),
        ({"logit_bias": {"50256": -100}}, "logit_bias", "leave it out"),
        ({"suffix": "the end"}, "suffix", "leave it out"),
        ({"top_k": 5}, "top_k", "known: model, temperature"),
        ({"model": "Not A Model"}, "model", "write NAME"),
    ],
)
def test_what_is_wrong_is_a_400_in_openais_envelope(
    api: Api, worker: StandInWorker, fields: dict[str, Any], param: str, says: str
) -> None:
    answer = complete(api, **fields)

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert says in error["message"]
    assert worker.seen == []


def test_echoed_prompts_count_once_for_each_choice(
    api: Api, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "MOST_TOKENS", 1000)
    fields = {"prompt": [[5] * 50, [6] * 50], "n": 8, "max_tokens": 13, "echo": True}

    error = complete(api, **fields, logprobs=0).json()["error"]

    assert error["param"] == "prompt"
    assert "has 100 tokens" in error["message"]
    assert "n = 8 choices, with those of the answers 1008 in all; at most 1000" in error["message"]
    assert worker.seen == []
    assert complete(api, **fields).status_code == 200
    assert complete(api, **fields | {"max_tokens": 12}, logprobs=0).status_code == 200


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prompt": "j" * CONTEXT_LENGTH, "max_tokens": 1}, "context_length_exceeded"),
        ({"prompt": ["a", "j" * CONTEXT_LENGTH]}, "context_length_exceeded"),
        ({"prompt": [[100_000], [5] * CONTEXT_LENGTH]}, "invalid_fields"),
        ({"prompt": [100_000]}, "invalid_fields"),
    ],
)
def test_a_prompt_that_is_too_long_has_openais_code(
    api: Api, worker: StandInWorker, fields: dict[str, Any], code: str
) -> None:
    assert complete(api, **fields).json()["error"]["code"] == code


def test_tokens_of_one_character_have_its_offset(api: Api, worker: StandInWorker, tokenizer: Tokenizer) -> None:
    text = "a\U0001f600 b\u00e9c"

    def scored(request: GenerationRequest) -> Iterable[GenerationEvent]:
        infos = [TokenInfo(id=token, logprob=-1.0 if n else None) for n, token in enumerate(request.prompts[0])]
        yield PromptEvent(choice=0, tokens=infos)
        yield FinishEvent(choice=0, reason="length")
        yield EndEvent(version=request.version)

    worker.script = scored
    logprobs = complete(api, prompt=text, max_tokens=0, echo=True, logprobs=0).json()["choices"][0]["logprobs"]

    offsets, tokens = logprobs["text_offset"], logprobs["tokens"]
    assert len(tokens) == 10
    assert offsets == [0, 1, 1, 1, 1, 2, 3, 4, 4, 5]
    assert [text[at : at + len(token)] for at, token in zip(offsets, tokens, strict=True) if token in text] == [
        token for token in tokens if token in text
    ]


@pytest.mark.parametrize(
    ("content", "kind", "status", "says"),
    [
        (b'{"model": "tiny",', "application/json", 400, "line 1, column 18"),
        (b"[]", "application/json", 400, "must be an object"),
        (b"{}", "text/plain", 415, "send application/json"),
        (b'{"model": "huge", "prompt": "a"}', "application/json", 404, "known models: tiny"),
        (b'{"model": "tiny@v8", "prompt": "a"}', "application/json", 404, "it has v0 to v0"),
    ],
)
def test_other_errors_have_the_envelope_too(api: Api, content: bytes, kind: str, status: int, says: str) -> None:
    answer = api.http.post("/v1/completions", content=content, headers={"Content-Type": kind})

    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_without_a_ready_worker_it_is_a_503_that_says_what_is_awaited(api: Api, worker: StandInWorker) -> None:
    worker.say("statistics", "C0 of layer 8: 40%")

    answer = complete(api)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")
    assert "statistics (C0 of layer 8: 40%)" in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0


def test_what_the_worker_refuses_keeps_its_status_and_words(api: Api, worker: StandInWorker) -> None:
    worker.script = lambda request: [ErrorEvent(status=503, code="version_unavailable", message="blob is missing")]

    answer = complete(api)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "version_unavailable")
    assert answer.json()["error"]["message"] == "blob is missing"
    assert "retry-after" in answer.headers


def test_a_worker_that_dies_with_the_request_is_a_503(
    api: Api, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CHECK_SECONDS", 0.2)
    answers: list[httpx.Response] = []
    worker.script = lambda request: []
    asking = threading.Thread(target=lambda: answers.append(complete(api)))
    asking.start()
    while not worker.seen:
        time.sleep(0.01)
    worker.die()
    asking.join()

    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "answer_lost")
    assert "send it again" in answers[0].json()["error"]["message"]


def test_a_request_that_nobody_works_on_any_more_is_a_503_although_workers_live(
    api: Api, worker: StandInWorker, redis_server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CHECK_SECONDS", 0.2)
    worker.script = lambda request: []
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(complete, api)
        while not worker.seen:
            time.sleep(0.01)
        with redis.Redis.from_url(redis_server.url) as queue:
            assert queue.delete(claimed_key(worker.seen[0].id)) == 1
        answer = asking.result()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "answer_lost")


def test_a_request_that_was_handed_to_a_worker_that_is_gone_is_a_503_although_another_lives(
    api: Api, worker: StandInWorker, redis_server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CHECK_SECONDS", 0.2)
    worker.die()
    worker.say("ready")
    stream = generate_stream(MODEL)
    with redis.Redis.from_url(redis_server.url) as queue, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(complete, api)
        while not queue.xreadgroup("workers", "another", {stream: ">"}, block=20):
            pass
        answer = asking.result()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "answer_lost")


def test_a_client_that_hangs_up_cancels_its_request(
    api: Api, worker: StandInWorker, redis_server: PrivateRedis
) -> None:
    worker.script = lambda request: []
    ask_and_hang_up(api, worker)

    with redis.Redis.from_url(redis_server.url) as client:
        key = cancelled_key(worker.seen[0].id)
        wait_until(lambda: client.exists(key), "the request is cancelled")
        assert client.ttl(key) > 0


def test_clients_that_hang_up_before_a_worker_comes_give_their_places_to_others(
    serve: Callable[..., Api], worker: StandInWorker, redis_server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MOST_WAITING", 2)
    worker.die()
    worker.say("ready")  # one that is busy: it claims nothing for now
    api = serve()
    stream = generate_stream(MODEL)
    with redis.Redis.from_url(redis_server.url) as client:
        for _ in range(3):
            with pytest.raises(httpx.TimeoutException):
                api.http.post("/v1/completions", json={"model": MODEL, "prompt": "a"}, timeout=0.5)
            wait_until(lambda: client.xlen(stream) == 0, "its place is free")
        with ThreadPoolExecutor(1) as pool:
            handed = pool.submit(_hand_out, client, stream)  # to a worker that does not take it
            with pytest.raises(httpx.TimeoutException):
                api.http.post("/v1/completions", json={"model": MODEL, "prompt": "a"}, timeout=0.5)
            handed.result()
        wait_until(lambda: client.xlen(stream) == 0, "its place is free")
        pending: Any = client.xpending(stream, "workers")
        assert pending["pending"] == 0


def _hand_out(client: redis.Redis, stream: str) -> None:
    while not client.xreadgroup("workers", "another", {stream: ">"}, block=20):
        pass


def test_nothing_is_left_in_redis_after_an_answer(api: Api, worker: StandInWorker, redis_server: PrivateRedis) -> None:
    complete(api)

    with redis.Redis.from_url(redis_server.url) as client:
        lasting = [key for key in client.scan_iter() if client.ttl(key) == -1]
    assert not [key for key in lasting if b"reply" in key or b"cancelled" in key]


def test_a_full_stream_is_a_429(
    serve: Callable[..., Api], worker: StandInWorker, redis_server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MOST_WAITING", 2)
    worker.die()
    worker.say("ready")
    with redis.Redis.from_url(redis_server.url) as client:
        for _ in range(2):
            client.xadd(generate_stream(MODEL), {"json": "{}"})

    answer = complete(serve())

    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "2 requests wait already" in answer.json()["error"]["message"]
    assert "retry-after" in answer.headers


def test_the_version_is_pinned_when_the_request_is_accepted(api: Api, worker: StandInWorker) -> None:
    answer = complete(api, model=f"{MODEL}@v0")

    assert worker.seen[0].version == 0
    assert answer.json()["model"] == f"{MODEL}@v0"
