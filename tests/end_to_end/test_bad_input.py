"""Bad input to a running server: the right status, words that name the remedy, and nothing queued afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from configuration.redis.keys import generate_stream, queues_for
from store.schema.tables import BatchRow, EvaluationRow, EventRow, FactRow, TaskRow
from tests.support.running.server import MODEL, Server
from tests.support.saved_models import CONTEXT_LENGTH, fact

JSON = {"Content-Type": "application/json"}
KEY = "open-sesame"


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for everything, which at the end must be as it was in the beginning."""
    data = tmp_path_factory.mktemp("bad-input") / "data"
    limits = {"max_facts": 20, "max_text_chars": 1000, "max_body_bytes": 20_000, "api_key": KEY}
    with Server(tiny_model, data, **limits) as server:
        yield server


def kept(server: Server) -> dict[str, int]:
    """How much is kept in SQL, and how much waits in Redis."""
    database = server.database()
    with database.reading() as session:
        rows = (BatchRow, FactRow, EvaluationRow, TaskRow, EventRow)
        found = {row.__tablename__: session.scalar(select(func.count()).select_from(row)) or 0 for row in rows}
    database.close()
    with server.redis() as redis:
        waiting: dict[str, Any] = {name: redis.llen(f"rq:queue:{name}") for name in queues_for(MODEL)}
        waiting["completions"] = redis.xlen(generate_stream(MODEL))
    return {**found, **waiting}


@pytest.fixture(autouse=True)
def _nothing_is_kept(server: Server) -> Iterator[None]:
    yield
    assert set(kept(server).values()) == {0}


@dataclass(frozen=True)
class Refusal:
    """`says` are parts of the answer: what is wrong, and what would do. `body` bytes are sent as they are."""

    id: str
    status: int
    code: str
    says: tuple[str, ...]
    body: Any
    path: str = "/v1/edits"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)


def edit(id: str, code: str, *says: str, facts: Any = None, status: int = 422, **fields: Any) -> Refusal:
    body = {"model": MODEL, "facts": [fact(0)] if facts is None else facts, **fields}
    return Refusal(id, status, code, says, body)


def bad_fact(id: str, *says: str, **changed: Any) -> Refusal:
    facts = [fact(0), {**fact(1), **changed}]
    return edit(id, "invalid_fields", "facts[1].", *says, facts=facts)


def evaluation(id: str, status: int, code: str, *says: str, **fields: Any) -> Refusal:
    return Refusal(id, status, code, says, {"model": MODEL, "facts": [fact(0)], **fields}, "/v1/evaluations")


def completion(id: str, status: int, *says: str, **fields: Any) -> Refusal:
    body = {"model": MODEL, "prompt": "The mother tongue of", **fields}
    return Refusal(id, status, "", says, body, "/v1/completions")


def alias(id: str, status: int, code: str, *says: str, name: str = "latest", **body: Any) -> Refusal:
    return Refusal(id, status, code, says, body, f"/v1/models/{MODEL}/aliases/{name}", "PUT")


LONG = "Lyon is in France and " * 40
REFUSALS = [
    edit("no facts", "invalid_fields", "facts", "is empty", "give at least one", facts=[]),
    edit(
        "too many facts", "invalid_fields", "has 21 facts", "at most 20", "several", facts=[fact(n) for n in range(21)]
    ),
    edit("no list of facts", "invalid_fields", "facts", "must be a list", facts="all"),
    bad_fact("no slot and no subject", "does not occur in prompt", "put {} where the subject stands", prompt="It is"),
    bad_fact("two slots", "more than once", prompt="{} and {} speak"),
    bad_fact("empty subject", "subject", "is empty", subject=" "),
    bad_fact("empty target", "target_new", "is empty", "say what it is", target_new=""),
    bad_fact("target equal to the old one", "equals target_old", target_new="French", target_old="French"),
    bad_fact("text over the limit", "has 1001 characters", "at most 1000", "shorten", target_new="x" * 1001),
    bad_fact("wrong type", "subject", "must be text", subject=5),
    bad_fact("unknown field", "is not known", "known: prompt", subjekt="x"),
    bad_fact("over the context", "prompt", f"reads at most {CONTEXT_LENGTH}", "shorten", prompt=LONG + "{} is"),
    bad_fact("target over the context", f"reads at most {CONTEXT_LENGTH}", "shorten", target_new=LONG),
    bad_fact("paraphrase over the context", "paraphrases[0]", f"at most {CONTEXT_LENGTH}", paraphrases=[LONG]),
    bad_fact(
        "subject merged across a boundary",
        "'Toko Yas' ends inside the token",
        "make that part of the subject",
        prompt="{}uda plays the",
        subject="Toko Yas",
    ),
    edit(
        "contradicting facts",
        "invalid_fields",
        "facts[2].target_new",
        "contradicts facts[0]",
        "keep one",
        facts=[fact(0), fact(1), {**fact(0), "target_new": "Spanish"}],
    ),
    edit("unknown algorithm", "invalid_fields", "algorithm", "is unknown", "known: emmet, memit", algorithm="emmett"),
    edit("unknown setting", "invalid_fields", "settings.layer", "known: preset, layers", settings={"layer": 1}),
    edit("setting out of range", "invalid_fields", "settings.steps", "at least 1", settings={"steps": 0}),
    edit("layer beyond the model", "invalid_fields", "settings.layers", "layers 0 to 3", settings={"layers": [4]}),
    edit("unknown threshold", "invalid_fields", "thresholds.XS", "known: 'ES'", thresholds={"XS": 1}),
    edit("unknown top field", "invalid_fields", "is not known", "known: model", fcats=[]),
    edit("no reference", "invalid_fields", "model", "NAME@v3", model="Tiny Model"),
    edit("unknown model", "model_not_found", "'huge'", "known models: tiny", status=404, model="huge"),
    edit("unknown version", "version_not_found", "v9", "it has v0 to v0", status=404, model=f"{MODEL}@v9"),
    edit("unknown alias", "version_not_found", "'best'", "aliases: latest", status=404, model=f"{MODEL}@best"),
    Refusal(
        "stale If-Match",
        409,
        "conflict",
        ("v3", "is v0 now"),
        {"model": MODEL, "facts": [fact(0)]},
        headers={"If-Match": '"v3"'},
    ),
    Refusal("malformed JSON", 400, "malformed_json", ("line 1, column 11",), b'{"model": }'),
    Refusal("no JSON at all", 400, "malformed_json", ("the body is empty", "send a JSON object"), b""),
    Refusal("JSON that is cut off", 400, "malformed_json", ("line 1",), b'{"model": "tiny", "facts": [{"prompt": "'),
    Refusal(
        "one key twice", 400, "malformed_json", ('"model" more than once', "keep one"), b'{"model":"a","model":"b"}'
    ),
    Refusal("not a number", 400, "malformed_json", ("NaN is not a JSON number",), b'{"model": NaN}'),
    Refusal("not UTF-8", 400, "malformed_json", ("is not UTF-8",), b'{"model": "\xff"}'),
    Refusal("nested without end", 400, "malformed_json", ("nested too deeply",), b"[" * 9000 + b"]" * 9000),
    Refusal("not an object", 422, "invalid_fields", ("must be an object",), b"[]"),
    Refusal("body over the limit", 413, "body_too_large", ("20000 bytes", "several batches"), b" " * 20_001),
    Refusal(
        "wrong type of body",
        415,
        "unsupported_media_type",
        ("application/json",),
        b"{}",
        headers={"Content-Type": "text/csv"},
    ),
    Refusal("no such path", 404, "path_not_found", ("/v1/edit", "/openapi.json"), {}, "/v1/edit"),
    Refusal("no such method", 405, "method_not_allowed", ("allowed: GET, POST",), {}, method="PATCH"),
    evaluation("evaluation without facts", 422, "invalid_fields", "facts", "is empty", facts=[]),
    evaluation("evaluation by unknown metric", 422, "invalid_fields", "metrics[0]", "ES", metrics=["XS"]),
    evaluation("evaluation of unknown version", 404, "version_not_found", "v5", "v0 to v0", model=f"{MODEL}@v5"),
    evaluation("evaluation beside another model", 422, "invalid_fields", "compare_with", compare_with="huge@v1"),
    evaluation(
        "evaluation over the context",
        422,
        "invalid_fields",
        "reads at most",
        facts=[{**fact(0), "prompt": LONG + "{}"}],
    ),
    completion("completion of unknown model", 404, "'huge'", "known models: tiny", model="huge"),
    completion("completion of unknown version", 404, "v9", "v0 to v0", model=f"{MODEL}@v9"),
    completion(
        "completion over the context", 400, f"maximum context length is {CONTEXT_LENGTH} tokens", "shorten", prompt=LONG
    ),
    completion("completion of nothing", 400, "prompt", "none of them empty", prompt=[]),
    completion("completion too long", 400, "max_tokens", "at most 2048", max_tokens=3000),
    completion("completion of wrong type", 400, "temperature", "a number", temperature="hot"),
    completion("completion of unknown token", 400, "token id 99999", prompt=[99999]),
    completion("completion with unknown field", 400, "is not known", tempreature=1),
    alias("alias to unknown version", 404, "version_not_found", "v7", "v0 to v0", version="v7"),
    alias("alias that moved", 409, "alias_moved", "points at v0", version="v0", expected="v3"),
    alias("alias like a version", 409, "alias_reserved", "not the form of a version", name="v7", version="v0"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_is_refused_with_the_remedy(server: Server, refusal: Refusal) -> None:
    content = refusal.body if isinstance(refusal.body, bytes) else json.dumps(refusal.body).encode()

    answer = server.http.request(refusal.method, refusal.path, content=content, headers={**JSON, **refusal.headers})

    assert answer.status_code == refusal.status, answer.text
    if refusal.path == "/v1/completions":
        error = answer.json()["error"]
        assert error["type"]
        told = f"{error['param']} {error['message']}"
    else:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["status"], problem["code"]) == (refusal.status, refusal.code)
        told = " ".join([problem["detail"], *(f"{one['loc']} {one['msg']}" for one in problem.get("errors", []))])
    for part in refusal.says:
        assert part in told
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/v1/edits", "/v1/evaluations", "/v1/completions", "/v1/models"])
@pytest.mark.parametrize("key", [None, "Bearer wrong", "Basic b3BlbjpzZXNhbWU="])
def test_without_the_key_nothing_is_looked_at(server: Server, path: str, key: str | None) -> None:
    headers = {**JSON} if key is None else {**JSON, "Authorization": key}
    method = "GET" if path == "/v1/models" else "POST"
    answer = httpx.request(method, server.http.base_url.join(path), headers=headers, content=b"{", trust_env=False)
    wrong = ', error="invalid_token"' if key == "Bearer wrong" else ""
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, f'Bearer realm="emmetd"{wrong}')
    assert ("the API key is not known here" if wrong else "Authorization: Bearer") in answer.text


def test_after_all_that_the_server_is_ready(server: Server) -> None:
    assert server.http.get("/readyz").status_code == 200
    assert server.complete(["The mother tongue of"])
