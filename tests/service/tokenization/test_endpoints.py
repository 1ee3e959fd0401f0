"""Tokens and texts over HTTP, as vLLM answers them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer, processors

from configuration.settings import Settings
from store.lineage import models
from store.schema.database import Database
from tests.service.conftest import CONTEXT_LENGTH, MODEL, Api, load_model

TEMPLATE = (
    "{% for message in messages %}{{ message.content }}<end>{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
)
SPECIAL = {"bos_token": "<end>", "eos_token": "<end>"}


@pytest.fixture
def prefixed(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with a special token before every text."""
    made = Tokenizer.from_str(tokenizer.to_str())
    end = made.token_to_id("<end>")
    made.post_processor = processors.TemplateProcessing(single="<end> $A", special_tokens=[("<end>", end)])
    return made


@pytest.fixture
def model(settings: Settings, prefixed: Tokenizer) -> str:
    load_model(settings, prefixed, chat_template=TEMPLATE, special_tokens=SPECIAL)
    return MODEL


def post(api: Api, path: str, **body: Any) -> httpx.Response:
    return api.http.post(path, json=body)


def test_a_prompt_becomes_tokens_and_text_again(api: Api, prefixed: Tokenizer) -> None:
    answer = post(api, "/tokenize", model=f"{MODEL}@v0", prompt="Lyon is").json()

    assert answer["tokens"] == prefixed.encode("Lyon is").ids
    assert answer == {"count": len(answer["tokens"]), "max_model_len": CONTEXT_LENGTH, "tokens": answer["tokens"]}
    assert post(api, "/detokenize", tokens=answer["tokens"]).json() == {"prompt": "<end>Lyon is"}
    assert post(api, "/detokenize", tokens=[]).json() == {"prompt": ""}


def test_special_tokens_are_added_as_asked(api: Api, prefixed: Tokenizer) -> None:
    bare = prefixed.encode("Lyon", add_special_tokens=False).ids
    end = prefixed.token_to_id("<end>")

    assert post(api, "/tokenize", prompt="Lyon").json()["tokens"] == [end, *bare]
    assert post(api, "/tokenize", prompt="Lyon", add_special_tokens=False).json()["tokens"] == bare
    assert post(api, "/tokenize", prompt="<end>", add_special_tokens=False).json()["tokens"] == [end]


def test_token_names_come_when_asked_for(api: Api, prefixed: Tokenizer) -> None:
    answer = post(api, "/tokenize", prompt=" Lyon", return_token_strs=True).json()

    assert answer["token_strs"] == [prefixed.id_to_token(token) for token in answer["tokens"]]


@pytest.mark.parametrize(("fields", "text"), [({}, "Lyon?<end>a:"), ({"add_generation_prompt": False}, "Lyon?<end>")])
def test_a_conversation_becomes_tokens(api: Api, prefixed: Tokenizer, fields: dict[str, bool], text: str) -> None:
    answer = post(api, "/tokenize", messages=[{"role": "user", "content": "Lyon?"}], **fields)

    assert answer.json()["tokens"] == prefixed.encode(text, add_special_tokens=False).ids


def test_what_a_tokenizer_has_is_shown(api: Api) -> None:
    info = api.http.get("/tokenizer_info").json()

    assert info == {
        "model": MODEL,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_LENGTH,
        "chat_template": TEMPLATE,
        **SPECIAL,
    }
    assert api.http.get("/tokenizer_info", params={"model": MODEL}).json() == info


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/tokenize", {}, 400, "give exactly one"),
        ("/tokenize", {"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, 400, "give exactly one"),
        ("/tokenize", {"prompt": ["a"]}, 400, "must be text"),
        ("/tokenize", {"prompt": "a", "truncate": 3}, 400, "known: model, prompt"),
        ("/tokenize", {"prompt": "a", "model": "huge"}, 404, "known models: tiny"),
        ("/detokenize", {"tokens": [100_000]}, 400, "token id 100000"),
        ("/detokenize", {"tokens": "a"}, 400, "must be a list"),
        ("/detokenize", {"tokens": [1], "model": f"{MODEL}@v9"}, 404, "v0 to v0"),
    ],
)
def test_what_is_wrong_has_openais_envelope(api: Api, path: str, body: dict[str, Any], status: int, says: str) -> None:
    answer = post(api, path, **body)

    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_with_several_models_one_must_be_named(api: Api, database: Database) -> None:
    with database.writing() as session:
        models.register(session, "other", "a folder")

    refused = post(api, "/tokenize", prompt="a")

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    assert "other, tiny" in refused.json()["error"]["message"]
    assert post(api, "/tokenize", prompt="a", model=MODEL).status_code == 200
    assert post(api, "/tokenize", prompt="a", model="other").json()["error"]["code"] == "no_worker"
