"""Chat completions, against the worker's side of the real Redis protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from configuration.redis.generation_messages import (
    EndEvent,
    ErrorEvent,
    FinishEvent,
    GenerationEvent,
    GenerationRequest,
    TokenInfo,
    TokensEvent,
)
from configuration.settings import Settings
from tests.service.conftest import CONTEXT_LENGTH, MODEL, Api, load_model
from tests.support.stand_in_worker import StandInWorker

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' and not loop.first %}{{ raise_exception('system comes first') }}{% endif %}"
    "{{ message.role[0] }}:{{ message.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)
QUESTION = [{"role": "user", "content": "Lyon?"}]


@pytest.fixture
def model(settings: Settings, tokenizer: Tokenizer) -> str:
    """One that was made for conversations."""
    load_model(settings, tokenizer, chat_template=TEMPLATE, special_tokens={"eos_token": "<end>"})
    return MODEL


def chat(api: Api, **fields: Any) -> httpx.Response:
    return api.http.post("/v1/chat/completions", json={"model": MODEL, "messages": QUESTION, **fields})


def deltas(api: Api, **fields: Any) -> list[dict[str, Any]]:
    """All chunks of a stream that ends as it should."""
    body = {"model": MODEL, "messages": QUESTION, "stream": True, **fields}
    with api.http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        *found, last = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert last == "[DONE]"
    return [json.loads(chunk) for chunk in found]


def test_a_chat_completion_in_openais_shape(api: Api, worker: StandInWorker, tokenizer: Tokenizer) -> None:
    answer = chat(api, max_tokens=3, temperature=0, top_p=0.5, stop=["x", "y"], seed=7)

    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["x-emmetd-version"] == body["system_fingerprint"] == f"{MODEL}@v0"
    assert (body["object"], body["model"], body["id"][:9]) == ("chat.completion", MODEL, "chatcmpl-")
    message = {"role": "assistant", "content": " ok", "refusal": None}
    assert body["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    (asked,) = worker.seen
    assert asked.prompts == [tokenizer.encode("u:Lyon?<end>a:", add_special_tokens=False).ids]
    assert body["usage"]["prompt_tokens"] == len(asked.prompts[0])
    assert (asked.max_tokens, asked.temperature, asked.top_p) == (3, 0, 0.5)
    assert (asked.stop, asked.seed, asked.n, asked.logprobs) == (["x", "y"], 7, 1, None)


def test_messages_are_written_by_the_models_template_with_its_special_tokens(
    api: Api, worker: StandInWorker, tokenizer: Tokenizer
) -> None:
    messages = [
        {"role": "developer", "content": "Go"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "refusal": None, "tool_calls": None, "annotations": []},
        {"role": "user", "content": "d", "name": "someone"},
    ]

    assert chat(api, messages=messages).status_code == 200
    assert tokenizer.decode(worker.seen[0].prompts[0], skip_special_tokens=False) == (
        "s:Go<end>u:a\nb<end>a:c<end>u:d<end>a:"
    )
    assert tokenizer.token_to_id("<end>") in worker.seen[0].prompts[0]


def test_without_a_limit_the_answer_may_fill_the_context(serve: Callable[..., Api], worker: StandInWorker) -> None:
    api = serve()
    chat(api)
    chat(api, max_completion_tokens=2)
    chat(api, max_tokens=3)
    chat(serve(max_completion_tokens=5))

    length = len(worker.seen[0].prompts[0])
    assert [asked.max_tokens for asked in worker.seen] == [CONTEXT_LENGTH - length, 2, 3, 5]


def test_settings_that_change_nothing_are_taken(api: Api, worker: StandInWorker) -> None:
    neutral = {
        "tools": [],
        "tool_choice": "none",
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "store": False,
        "metadata": {},
        "service_tier": "auto",
        "logit_bias": None,
        "presence_penalty": 0,
        "user": "someone",
        "max_tokens": None,
    }

    assert chat(api, **neutral).status_code == 200


def test_logprobs_name_tokens_with_their_bytes_and_the_best_others(
    api: Api, worker: StandInWorker, tokenizer: Tokenizer
) -> None:
    lyon, paris = (tokenizer.encode(text).ids[0] for text in (" Lyon", " Paris"))
    part = tokenizer.encode("é").ids[0]

    def scored(request: GenerationRequest) -> Iterable[GenerationEvent]:
        info = TokenInfo(id=lyon, logprob=-1.5, top=[(paris, -0.5), (part, -1.0)])
        yield TokensEvent(choice=0, text=" Lyon", count=1, tokens=[info])
        yield FinishEvent(choice=0, reason="length")
        yield EndEvent(version=request.version)

    worker.script = scored
    expected = {
        "token": " Lyon",
        "logprob": -1.5,
        "bytes": list(b" Lyon"),
        "top_logprobs": [
            {"token": " Paris", "logprob": -0.5, "bytes": list(b" Paris")},
            {"token": "Ã", "logprob": -1.0, "bytes": [0xC3]},
        ],
    }
    whole = chat(api, logprobs=True, top_logprobs=2).json()["choices"][0]
    pieces = [piece["choices"][0] for piece in deltas(api, logprobs=True, top_logprobs=2)]

    assert whole["logprobs"] == {"content": [expected], "refusal": None}
    assert [piece["logprobs"] for piece in pieces] == [None, whole["logprobs"], None]
    assert [asked.logprobs for asked in worker.seen] == [2, 2]
    assert chat(api, logprobs=True).status_code == 200
    assert worker.seen[2].logprobs == 0


def test_a_stream_is_deltas_of_each_choices_message(api: Api, worker: StandInWorker) -> None:
    def mixed(request: GenerationRequest) -> Iterable[GenerationEvent]:
        for text in (" Ly", "", "on"):
            for choice in range(2):
                yield TokensEvent(choice=choice, text=text, count=1)
        for choice in (1, 0):
            yield FinishEvent(choice=choice, reason="stop")
        yield EndEvent(version=request.version)

    worker.script = mixed
    *found, last = deltas(api, n=2, stream_options={"include_usage": True})

    for index in range(2):
        own = [piece["choices"][0] for piece in found if piece["choices"][0]["index"] == index]
        assert [(choice["delta"], choice["finish_reason"]) for choice in own] == [
            ({"role": "assistant", "content": ""}, None),
            ({"content": " Ly"}, None),
            ({"content": "on"}, None),
            ({}, "stop"),
        ]
    assert {(piece["object"], piece["system_fingerprint"], piece["usage"]) for piece in found} == {
        ("chat.completion.chunk", f"{MODEL}@v0", None)
    }
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 6)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"messages": []}, "messages", "give at least 1"),
        ({"messages": "Lyon?"}, "messages", "must be a list"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "is missing"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "is null; it must be a text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content",
            'parts {"type": "text", "text": …}',
        ),
        (
            {"messages": [{"role": "user", "content": "Lyon?", "type": "image"}]},
            "messages[0].type",
            'is "image", which is not served here',
        ),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages[0].role", '"tool" is not known'),
        (
            {"messages": [*QUESTION, {"role": "system", "content": "Be brief"}]},
            "messages",
            "refuses them: system comes first",
        ),
        ({"tools": [{"type": "function"}]}, "tools", "not served here"),
        ({"tool_choice": "required"}, "tool_choice", "not served here"),
        ({"response_format": {"type": "json_object"}}, "response_format", '{"type": "json_object"}'),
        ({"top_logprobs": 3}, "top_logprobs", "logprobs is not true"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "at most 20"),
        ({"n": 128, "max_tokens": 513}, "max_tokens", "65664 in all; at most 65536"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"max_tokens": 2, "max_completion_tokens": 3}, "max_tokens", "give one of them"),
        ({"max_completion_tokens": 2049}, "max_completion_tokens", "at most 2048"),
        ({"max_completion_tokens": CONTEXT_LENGTH}, "messages", "lower max_completion_tokens"),
        (
            {"messages": [{"role": "user", "content": "j" * CONTEXT_LENGTH}]},
            "messages",
            f"maximum context length is {CONTEXT_LENGTH} tokens",
        ),
        ({"stream_options": {}}, "stream_options", "stream is not true"),
        ({"echo": True}, "echo", "is not known here"),
        ({"stop": [""]}, "stop", "must be a text or a list"),
    ],
)
def test_what_is_wrong_is_a_400_in_openais_envelope(
    api: Api, worker: StandInWorker, fields: dict[str, Any], param: str, says: str
) -> None:
    answer = chat(api, **fields)

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert says in error["message"]
    assert worker.seen == []


def test_a_message_may_say_that_it_is_text_as_lm_eval_does(api: Api, worker: StandInWorker) -> None:
    said, plain = (
        chat(api, messages=[{"role": "user", "content": "Lyon?", **more}]) for more in ({"type": "text"}, {})
    )

    assert (said.status_code, plain.status_code) == (200, 200)
    assert worker.seen[0].prompts == worker.seen[1].prompts


@pytest.mark.parametrize(
    "fields",
    [
        {"max_completion_tokens": CONTEXT_LENGTH},
        {"messages": [{"role": "user", "content": "j" * CONTEXT_LENGTH}]},
    ],
)
def test_a_conversation_that_is_too_long_has_openais_code(
    api: Api, worker: StandInWorker, fields: dict[str, Any]
) -> None:
    assert chat(api, **fields).json()["error"]["code"] == "context_length_exceeded"


def test_other_errors_have_the_envelope_too(api: Api, worker: StandInWorker) -> None:
    worker.script = lambda request: [ErrorEvent(status=503, code="version_unavailable", message="blob is missing")]

    assert chat(api).json()["error"]["code"] == "version_unavailable"
    assert chat(api, stream=True).status_code == 503
    assert "known models: tiny" in chat(api, model="huge").json()["error"]["message"]


def test_a_model_without_a_template_says_where_to_go(
    api: Api, worker: StandInWorker, settings: Settings, tokenizer: Tokenizer
) -> None:
    load_model(settings, tokenizer)

    answer = chat(api)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert "/v1/completions" in answer.json()["error"]["message"]
