"""What browsers are told: what they may run, frame and keep, and which pages may ask."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.service.conftest import MODEL, Api, fact

ORIGIN = "https://console.example.org"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/none", "/none", "/livez", "/metrics", "/", "/docs"])
def test_no_answer_is_guessed_at_framed_or_told_to_others(api: Api, path: str) -> None:
    headers = api.http.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert ("script-src" in headers["content-security-policy"]) == (path in ("/", "/docs"))


def test_what_is_for_one_caller_is_kept_by_nobody(api: Api) -> None:
    answers = [api.http.get(path) for path in ("/v1/models", "/v1/edits/none", "/readyz", "/metrics")]
    answers.append(api.edit([fact()]))
    answers.append(api.http.post("/tokenize", json={"model": MODEL, "prompt": "Lyon"}))

    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert "cache-control" not in api.http.get("/openapi.json").headers


def test_pages_of_other_origins_are_closed_out_by_default(api: Api) -> None:
    preflight = api.http.options("/v1/edits", headers=PREFLIGHT)
    asked = api.http.get("/livez", headers={"Origin": ORIGIN})

    assert preflight.status_code == 405
    for answer in (preflight, asked):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_origin_that_is_named_may_ask_and_no_other(serve: Callable[..., Api], model: str) -> None:
    api = serve(auth="on", cors_origins=f"{ORIGIN}, https://other.example:8443")

    preflight = api.http.options("/v1/edits", headers=PREFLIGHT)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in preflight.headers
    refusal = api.http.get("/v1/models", headers={"Origin": ORIGIN})
    assert (refusal.status_code, refusal.headers["access-control-allow-origin"]) == (401, ORIGIN)
    stranger = {**PREFLIGHT, "Origin": "https://attacker.example"}
    assert "access-control-allow-origin" not in api.http.options("/v1/edits", headers=stranger).headers
