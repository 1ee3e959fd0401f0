"""The `openai` package as PyPI has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from configuration.redis.keys import cancelled_key
from tests.clients.conftest import EDITED, MODEL, Serving
from tests.service.conftest import wait_until

BASE = f"{MODEL}@v0"
PROMPT = "The mother tongue of Danielle Darrieux is"
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}


@pytest.fixture
def client(serving: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=serving.api, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected(serving: Serving) -> dict[str, str]:
    """What Transformers' own greedy search says on the weights of each version."""
    found = {}
    for version, folder in ((BASE, serving.folder), (EDITED, serving.merged)):
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        prompt = tokenizer(PROMPT, return_tensors="pt")
        with torch.no_grad():
            tokens = model.generate(**prompt, do_sample=False, max_new_tokens=12)[0]
        found[version] = tokenizer.decode(tokens, skip_special_tokens=True).removeprefix(PROMPT)
    assert found[BASE] != found[EDITED]
    return found


@pytest.mark.parametrize("version", [BASE, EDITED])
def test_a_completion(client: openai.OpenAI, expected: dict[str, str], version: str) -> None:
    answer = client.completions.create(model=version, prompt=PROMPT, **GREEDY)

    assert answer.choices[0].text == expected[version]
    assert (answer.object, answer.system_fingerprint) == ("text_completion", version)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_version_stands_in_a_header(client: openai.OpenAI) -> None:
    raw = client.completions.with_raw_response.create(model=MODEL, prompt=PROMPT, **GREEDY)

    assert raw.headers["x-emmetd-version"] == raw.parse().system_fingerprint == EDITED


@pytest.mark.parametrize("version", [BASE, EDITED])
def test_a_chat(client: openai.OpenAI, expected: dict[str, str], version: str) -> None:
    answer = client.chat.completions.create(model=version, messages=[{"role": "user", "content": PROMPT}], **GREEDY)

    assert answer.choices[0].message.content == expected[version]
    assert answer.choices[0].message.role == "assistant"
    assert (answer.object, answer.system_fingerprint) == ("chat.completion", version)


def test_a_streamed_completion(client: openai.OpenAI, expected: dict[str, str]) -> None:
    with client.completions.create(
        model=EDITED, prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **GREEDY
    ) as stream:
        *chunks, last = stream

    assert "".join(chunk.choices[0].text for chunk in chunks) == expected[EDITED]
    assert len(chunks) > 2
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")
    assert last.usage is not None
    assert {chunk.system_fingerprint for chunk in chunks} == {EDITED}


def test_a_streamed_chat(client: openai.OpenAI, expected: dict[str, str]) -> None:
    messages: Any = [{"role": "user", "content": PROMPT}]
    with client.chat.completions.create(model=EDITED, messages=messages, stream=True, **GREEDY) as stream:
        chunks = list(stream)

    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected[EDITED]
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")


def test_choices_of_several_prompts(client: openai.OpenAI, expected: dict[str, str]) -> None:
    answer = client.completions.create(model=EDITED, prompt=[PROMPT, "Toko"], n=2, seed=3, **GREEDY)

    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in answer.choices[:2]] == [expected[EDITED]] * 2


def test_logprobs_are_those_of_the_weights(client: openai.OpenAI, serving: Serving) -> None:
    answer = client.completions.create(model=EDITED, prompt=PROMPT, echo=True, logprobs=2, temperature=0, max_tokens=3)

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(serving.merged),
        AutoTokenizer.from_pretrained(serving.merged),
    )
    tokens = tokenizer(answer.choices[0].text, return_tensors="pt").input_ids
    with torch.no_grad():
        plain = model(tokens).logits[0].log_softmax(-1)
    own = [float(plain[at, token]) for at, token in enumerate(tokens[0, 1:])]
    assert logprobs.token_logprobs is not None
    assert logprobs.token_logprobs[0] is None
    assert logprobs.token_logprobs[1:] == pytest.approx(own, abs=1e-4)
    assert logprobs.top_logprobs is not None
    for best, at in zip(logprobs.top_logprobs[1:], plain, strict=False):
        assert max(best.values()) == pytest.approx(float(at.max()), abs=1e-4)
    assert logprobs.tokens is not None
    assert logprobs.text_offset is not None
    for token, offset in zip(logprobs.tokens[1:], logprobs.text_offset[1:], strict=True):
        assert answer.choices[0].text[offset:].startswith(token)


def test_logprobs_of_a_chat(client: openai.OpenAI, expected: dict[str, str]) -> None:
    messages: Any = [{"role": "user", "content": PROMPT}]
    answer = client.chat.completions.create(model=EDITED, messages=messages, logprobs=True, top_logprobs=3, **GREEDY)

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    said = [token for token in logprobs.content if token.token != "</s>"]
    assert b"".join(bytes(token.bytes or []) for token in said).decode() == expected[EDITED]
    for token in logprobs.content:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == token.logprob, "greedy takes the best"


def test_versions_and_aliases_are_models(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}

    assert list(models) == [MODEL, BASE, EDITED, f"{MODEL}@latest"]
    assert {name: model.parent for name, model in models.items()} == {  # type: ignore[attr-defined]
        MODEL: None,
        BASE: None,
        EDITED: BASE,
        f"{MODEL}@latest": EDITED,
    }
    assert client.models.retrieve(EDITED).model_dump() == models[EDITED].model_dump()


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="v0 to v1"):
        client.completions.create(model=f"{MODEL}@v9", prompt=PROMPT)
    with pytest.raises(openai.BadRequestError, match="temperature") as refused:
        client.completions.create(model=MODEL, prompt=PROMPT, temperature=3, stream=True)
    assert (refused.value.param, refused.value.code) == ("temperature", "invalid_fields")
    with pytest.raises(openai.BadRequestError, match="tools"):
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "a"}],
            tools=[{"type": "function"}],  # type: ignore[list-item]
        )


def test_streams_of_several_versions_at_once_each_say_what_their_version_says(
    client: openai.OpenAI, expected: dict[str, str]
) -> None:
    def text_of(number: int) -> tuple[str, str]:
        version = (BASE, EDITED)[number % 2]
        with client.completions.create(model=version, prompt=PROMPT, stream=True, **GREEDY) as stream:
            chunks = list(stream)
        (stamp,) = {chunk.system_fingerprint for chunk in chunks}
        return str(stamp), "".join(chunk.choices[0].text for chunk in chunks)

    with ThreadPoolExecutor(8) as threads:
        for stamp, text in threads.map(text_of, range(16)):
            assert text == expected[stamp]


def test_closing_a_stream_frees_its_rows(
    client: openai.OpenAI, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, steps = serving.engine.batch, threading.Semaphore(0)
    step = batch.step

    def slowly() -> Any:
        if batch.sequences:
            steps.release()
            time.sleep(0.05)
        return step()

    monkeypatch.setattr(batch, "step", slowly)
    stream = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=120, n=3, temperature=1, stream=True)
    begun = next(iter(stream))
    stream.close()
    wait_until(lambda: serving.engine.redis.exists(cancelled_key(begun.id)), "the request is cancelled")
    wait_until(lambda: not batch.sequences, "the rows are free")

    assert sum(iter(lambda: steps.acquire(blocking=False), False)) < 110
    monkeypatch.undo()
    assert client.completions.create(model=MODEL, prompt=PROMPT, **GREEDY).choices[0].finish_reason
