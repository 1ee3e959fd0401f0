"""Text and JSON that no one means, in every place where a request has some: an answer, and never a 5xx."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact
from tests.support.running.odd_bodies import LITERALS

JSON = {"Content-Type": "application/json"}
PLACE = "put it here"
HERE = f"/v1/models/{MODEL}"
BODIES: dict[str, list[Any]] = {
    "POST /v1/edits": [
        *({"model": MODEL, "facts": [fact(**{name: PLACE})]} for name in ("prompt", "subject", "target_new", "more")),
        *(
            {"model": MODEL, "facts": [fact()], name: PLACE}
            for name in ("label", "algorithm", "settings", "facts", "x")
        ),
        *(
            {"model": MODEL, "facts": [fact()], "settings": {name: PLACE}}
            for name in ("preset", "layers", "seed", "mu")
        ),
        {"model": MODEL, "facts": [fact(paraphrases=[PLACE], neighbors=[{"prompt": PLACE, "target": PLACE}])]},
        {"model": MODEL, "facts": [fact()], "thresholds": {PLACE: 1}},
        {"model": PLACE, "facts": [fact()]},
        {"model": MODEL, "facts": [fact()], PLACE: 1},
        {"model": MODEL, "facts": [fact(**{PLACE: 1})]},
    ],
    "POST /v1/evaluations": [
        {"model": MODEL, "facts": [fact(subject=PLACE)]},
        {"model": MODEL, "facts": [fact()], "compare_with": PLACE},
        {"model": MODEL, "facts": [fact()], "metrics": [PLACE]},
    ],
    "POST /v1/statistics": [{"model": MODEL, name: PLACE} for name in ("model", "corpus", "tokens", "layers")],
    f"PUT {HERE}/aliases/best": [{"version": PLACE}, {"version": "v0", "expected": PLACE}, {"version": "v0", PLACE: 1}],
    f"POST {HERE}/versions/v0/revert": [
        {"facts": [0], "of": PLACE},
        {"facts": [PLACE]},
        {"edits": [PLACE]},
        {"facts": [0], "label": PLACE},
    ],
    "POST /v1/completions": [
        *({"model": MODEL, "prompt": "a", name: PLACE} for name in ("prompt", "stop", "user", "seed", "logit_bias")),
        {"model": MODEL, "prompt": [PLACE]},
        {"model": PLACE, "prompt": "a"},
    ],
    "POST /v1/chat/completions": [
        {"model": MODEL, "messages": [{"role": "user", "content": PLACE}]},
        {"model": MODEL, "messages": [{"role": "user", "content": [{"type": "text", "text": PLACE}]}]},
        *(
            {"model": MODEL, "messages": [{"role": "user", "content": "a"}], name: PLACE}
            for name in ("tools", "tool_choice", "metadata", "response_format", "modalities")
        ),
    ],
    "POST /tokenize": [{"model": MODEL, "prompt": PLACE}, {"model": MODEL, "messages": [PLACE]}],
    "POST /detokenize": [{"model": MODEL, "tokens": [PLACE]}, {"model": MODEL, "tokens": PLACE}],
}
TEXTS = (
    "\x00",
    "a\x00b",
    "\ud800",
    "a\udfffb",
    "",
    " ",
    "\u202e{}",
    "x" * 20_000,
    "\U0010ffff",
    "v0\n",
    f"{MODEL}@v0\n",
)


def answered(api: Api, route: str, body: Any, literal: str) -> None:
    method, path = route.split()
    content = json.dumps(body).replace(json.dumps(PLACE), literal).encode("utf-8", "surrogatepass")
    answer = api.http.request(method, path, content=content, headers=JSON)
    # No worker is there, so that a right request for text is told to come again.
    expected = answer.status_code < 500 or (answer.status_code == 503 and "no_worker" in answer.text)
    assert expected, (content[:300], answer.text)
    answer.json()
    assert len(answer.content) < 100_000, content[:300]


@BOTH_DATABASES
@pytest.mark.parametrize("route", BODIES)
def test_no_text_in_a_body_breaks_anything(api: Api, route: str) -> None:
    for body in BODIES[route]:
        for text in TEXTS:
            answered(api, route, body, json.dumps(text))


@pytest.mark.parametrize("route", BODIES)
def test_no_literal_in_a_body_breaks_anything(api: Api, route: str) -> None:
    for body in BODIES[route][::3]:
        for literal in LITERALS:
            answered(api, route, body, literal)


NAMES = (
    "%00",
    "a%00b",
    "%FF",
    "%ED%A0%80",
    "v0%0A",
    "tiny%0A",
    "..%2F..",
    "%F0%9F%98%80",
    "x" * 300,
    "'",
    "%25",
    "v9" * 9,
)


@BOTH_DATABASES
@pytest.mark.parametrize(
    "path",
    [
        *("/v1/edits/{}", "/v1/edits/{}/facts", "/v1/edits/{}/events", "/v1/evaluations/{}", "/v1/statistics/{}"),
        *("/v1/models/{}", "/v1/models/{}/versions", "/v1/models/{}/aliases", f"{HERE}/versions/{{}}"),
        *(f"{HERE}/versions/{{}}/{what}" for what in ("facts", "metrics", "export")),
        *(
            "/v1/edits?model={}",
            "/v1/evaluations?model={}",
            "/v1/statistics?model={}",
            "/v1/algorithms?model={}",
            "/tokenizer_info?model={}",
        ),
        *(f"{HERE}/diff?from={{}}&to=v0", "/v1/audit?actor={}", "/v1/audit?action={}", "/v1/audit?model={}"),
        *("/v1/edits?cursor={}", "/v1/edits?limit={}", f"{HERE}/versions?cursor={{}}"),
    ],
)
def test_no_name_in_an_address_breaks_anything(api: Api, path: str) -> None:
    for name in NAMES:
        answer = api.http.get(path.format(name))
        assert answer.status_code in (200, 400, 404, 422), (path.format(name), answer.text)


@BOTH_DATABASES
def test_a_cursor_beyond_every_row_is_no_cursor(api: Api) -> None:
    edit = api.edit().json()["id"]
    lists = {
        "edits": "/v1/edits",
        "versions": f"{HERE}/versions",
        "statistics": "/v1/statistics",
        "evaluations": "/v1/evaluations",
        "audit": "/v1/audit",
    }
    for kind, path in {**lists, "facts": f"/v1/edits/{edit}/facts"}.items():
        for number in ("9" * 18, "9" * 19, "9" * 60, "-1", "٣", "1e3", ""):
            cursor = base64.urlsafe_b64encode(f"{kind}:{number}".encode()).decode().rstrip("=")
            answer = api.http.get(path, params={"cursor": cursor})
            assert answer.status_code == (200 if number == "9" * 18 else 400), (path, number, answer.text)


@BOTH_DATABASES
@pytest.mark.parametrize("header", ["Idempotency-Key", "If-Match", "Prefer", "Last-Event-ID", "X-Request-ID"])
def test_no_header_breaks_anything(api: Api, header: str) -> None:
    edit = api.edit().json()["id"]
    for value in (b"\xff\xfe", b"\xe2\x80\xae", b"9" * 400, b'"v\xd9\xa3"', b"wait=99999999999", b',;="'):
        sent = {header.encode(): value, b"Content-Type": b"application/json"}
        content = json.dumps({"model": MODEL, "facts": [fact()]})
        for answer in (
            api.http.post("/v1/edits", content=content, headers=sent),
            api.http.get(f"/v1/edits/{edit}", headers=sent),
        ):
            assert answer.status_code < 500, (header, value, answer.text)


def test_what_is_wrong_with_the_whole_body_has_a_place(api: Api) -> None:
    answer = api.http.put(f"{HERE}/aliases/best", json={})

    assert answer.json()["errors"][0]["loc"] == "body"
    assert answer.json()["detail"].startswith("body: says nothing to change")


def test_a_key_that_cannot_be_written_is_refused(api: Api) -> None:
    answer = api.http.post("/v1/edits", content=b'{"model": "tiny", "facts": [{}], "\\ud800": 1}', headers=JSON)

    assert answer.status_code == 422
    assert answer.json()["errors"][0] == {"loc": "body", "msg": "holds an unpaired surrogate; send valid Unicode text"}


@pytest.mark.parametrize("name", ["v0\n", "v٣"])
def test_only_a_whole_name_is_a_version(api: Api, name: str) -> None:
    assert api.http.get(f"{HERE}/versions/{quote(name)}").status_code == 404
    assert api.http.post("/v1/edits", json={"model": f"{MODEL}@{name}", "facts": [fact()]}).status_code == 422
